"""The checked client in the shape of httpx, for SDKs that take no httpx2."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2

from core.outbound import DEFAULT_TIMEOUT, async_client
from core.outbound_allow import OutboundUse


class HttpxTransport(httpx.AsyncBaseTransport):
    """Sends each request through our httpx2 client: addresses, redirects, caps and deadlines are checked there."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises OutboundRefused, OutboundLimit, or httpx's own errors."""
        sent = httpx2.Request(
            request.method,
            str(request.url),
            headers=request.headers.raw,
            stream=_sendable(request.stream),
            extensions={"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {},
        )
        try:
            answer = await self._client.send(sent, stream=True, auth=None)
        except httpx2.RequestError as error:
            raise same_error(error, request) from error
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw, stream=_Body(answer, request), extensions=_kept(answer)
        )

    async def aclose(self) -> None:
        await self._client.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpx2.Response, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.aiter_raw():
                yield piece
        except httpx2.RequestError as error:
            raise same_error(error, self._request) from error

    async def aclose(self) -> None:
        await self._answer.aclose()


def _sendable(stream: Any) -> httpx2.AsyncByteStream | httpx2.ByteStream:
    """A body that is whole can follow a redirect; a streamed one goes out once."""
    if isinstance(stream, httpx.ByteStream):
        return httpx2.ByteStream(b"".join(stream))
    return _Upload(stream)


class _Upload(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece


def _kept(answer: httpx2.Response) -> dict[str, Any]:
    return {name: answer.extensions[name] for name in ("http_version", "reason_phrase") if name in answer.extensions}


def same_error(error: httpx2.RequestError, request: httpx.Request) -> httpx.RequestError:
    """httpx2 names its errors as httpx does."""
    kind: type[httpx.RequestError] = getattr(httpx, type(error).__name__, httpx.TransportError)
    return kind(str(error), request=request)


def httpx_client(use: OutboundUse, *, client: httpx2.AsyncClient | None = None) -> httpx.AsyncClient:
    """A client for one use and one event loop; the caller closes it. client: from `async_client`, else a new one."""
    transport = HttpxTransport(client or async_client(use))
    timeout = httpx.Timeout(**DEFAULT_TIMEOUT.as_dict())
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)
