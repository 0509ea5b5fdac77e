"""The checked client in the shape of requests, for SDKs that take a Session."""

import asyncio
import http.cookiejar
import io
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx2
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from core.loop import run_in_loop, start_in_loop
from core.outbound import DEFAULT_TIMEOUT, async_client
from core.outbound_allow import OutboundUse

UPLOAD_BYTES = 64 * 1024


class CheckedAdapter(BaseAdapter):
    """Sends each request through our httpx2 client, on the process's own loop. `verify` and `proxies` have no effect:
    certificates are always verified, and nothing goes around the check."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        super().__init__()
        self._client = client

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,  # noqa: ARG002 - requests names the arguments
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        """Raises OutboundRefused, OutboundLimit, or the errors of requests."""
        if cert is not None:
            raise requests.exceptions.SSLError("Client certificates cannot be used here.", request=request)
        try:
            answer = run_in_loop(self._client.send(_request(request, timeout), stream=True, auth=None))
            return _response(request, answer, whole=not stream)
        except httpx2.RequestError as error:
            raise _same_error(error, request) from error

    def close(self) -> None:
        run_in_loop(self._client.aclose())


def _request(request: requests.PreparedRequest, timeout: Any) -> httpx2.Request:
    return httpx2.Request(
        str(request.method),
        str(request.url),
        headers=[(name, str(value)) for name, value in request.headers.items()],
        stream=_body(request.body),
        extensions={"timeout": _timeouts(timeout)},
    )


def _timeouts(timeout: Any) -> dict[str, float | None]:
    """requests' one number, or its pair of connect and read; ours where it names none."""
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    chosen = {name: value for name, value in (("connect", connect), ("read", read), ("write", read)) if value}
    return {**DEFAULT_TIMEOUT.as_dict(), **chosen}


def _body(body: Any) -> httpx2.ByteStream | httpx2.AsyncByteStream:
    if body is None or isinstance(body, str | bytes):
        return httpx2.ByteStream(body.encode() if isinstance(body, str) else body or b"")
    return _Upload(iter(lambda: body.read(UPLOAD_BYTES), b"") if hasattr(body, "read") else iter(body))


class _Upload(httpx2.AsyncByteStream):
    """A file or iterator of the calling thread, read in a thread of its own."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await asyncio.to_thread(next, self._parts, None)) is not None:
            yield part.encode() if isinstance(part, str) else part


def _response(request: requests.PreparedRequest, answer: httpx2.Response, *, whole: bool) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status_code
    response.reason = answer.reason_phrase
    response.headers = CaseInsensitiveDict(answer.headers.items())
    response.url = str(answer.url)
    response.encoding = requests.utils.get_encoding_from_headers(response.headers)
    response.request = request
    response.raw = Reader(answer, request)
    if whole:
        _ = response.content
    return response


class Reader(io.RawIOBase):
    """The body as the file that requests reads from."""

    def __init__(self, answer: httpx2.Response, request: requests.PreparedRequest) -> None:
        self._answer = answer
        self._pieces = answer.aiter_raw()
        self._request = request
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OutboundLimit, or the errors of requests."""
        while not self._left:
            try:
                piece = run_in_loop(_next(self._pieces))
            except httpx2.RequestError as error:
                raise _same_error(error, self._request) from error
            if piece is None:
                return 0
            self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def close(self) -> None:
        """The garbage collector calls this too, and it may run on the loop itself: so nothing waits here."""
        if not self.closed:
            start_in_loop(self._answer.aclose())
        super().close()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def _same_error(error: httpx2.RequestError, request: requests.PreparedRequest) -> requests.RequestException:
    if isinstance(error, httpx2.ConnectTimeout):
        return requests.ConnectTimeout(str(error), request=request)
    if isinstance(error, httpx2.TimeoutException):
        return requests.ReadTimeout(str(error), request=request)
    if isinstance(error, httpx2.TooManyRedirects):
        return requests.TooManyRedirects(str(error), request=request)
    return requests.ConnectionError(str(error), request=request)


def requests_session(use: OutboundUse, *, client: httpx2.AsyncClient | None = None) -> requests.Session:
    """A session for one use and one process; the caller closes it. client: from `async_client`, else a new one."""
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    adapter = CheckedAdapter(client or async_client(use))
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session
