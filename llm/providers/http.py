"""The base of providers that speak a vendor's own HTTP protocol, on our checked transport.

A body that breaks off ends the stream: what had begun is handed on, and `llm.client` decides what it is worth.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from core.exceptions import MagnetError
from core.outbound import OutboundUse, async_client
from llm.providers.failures import scrubbed, status_failure, vendor_text
from plugins.contracts import Endpoint, Provider, ProviderFailure

CONNECT_SECONDS = 5.0
NO_ANSWER = "The model provider sent something that is no answer."
NO_STREAM = "The model provider did not stream. Check its base URL."


class HttpProvider(Provider):
    """A connection to one endpoint. Use it on one event loop, and close it.

    headers: sent with each request, the credential among them. base_url: without the slash at its end.
    """

    def __init__(self, endpoint: Endpoint, *, base_url: str, headers: Mapping[str, str]) -> None:
        self.endpoint = endpoint
        self.base_url = (endpoint.base_url or base_url).rstrip("/")
        timeout = httpx2.Timeout(endpoint.timeout_seconds, connect=CONNECT_SECONDS)
        self._headers = {**headers, **endpoint.headers}
        self._client = async_client(OutboundUse.PROVIDER, timeout=timeout)

    async def close(self) -> None:
        await self._client.aclose()

    async def headers_for(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """The headers of one request. Override it where they depend on the request, as signatures do."""
        del method, url, body
        return self._headers

    async def get(self, path: str) -> Any:
        """The answer, parsed. path: below the base URL, or a whole URL."""
        return await self._whole("GET", path, None)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return await self._whole("POST", path, body)

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of an event stream, until it ends or breaks off. `[DONE]` is no object."""
        async with self._open("POST", path, body, accept="text/event-stream") as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise ProviderFailure("bad_response", NO_STREAM)
            async for data in event_data(self.pieces(response)):
                if data == "[DONE]":
                    continue
                yield _object(data)

    async def pieces(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The body as it comes. It ends where it breaks off; only silence is a failure of its own."""
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx2.TimeoutException as error:
            raise failure_of(error) from None
        except httpx2.TransportError:
            return
        except MagnetError as error:
            raise failure_of(error) from None

    async def _whole(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        async with self._open(method, path, body, accept="application/json") as response:
            try:
                return json.loads(await response.aread())
            except ValueError:
                raise ProviderFailure("bad_response", NO_ANSWER) from None

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None, *, accept: str
    ) -> AsyncIterator[httpx2.Response]:
        """One request with its answer's head; anything but a 2xx is a failure with what the vendor says."""
        content = b"" if body is None else json.dumps(body).encode()
        url = path if "://" in path else f"{self.base_url}/{path.lstrip('/')}"
        headers = {"Accept": accept, **({"Content-Type": "application/json"} if content else {})}
        try:
            headers.update(await self.headers_for(method, url, content))
            async with self._client.stream(method, url, content=content, headers=headers) as response:
                if not response.is_success:
                    raise status_failure(
                        response.status_code,
                        await response.aread(),
                        secrets=self.endpoint.secrets,
                        retry_after=response.headers.get("retry-after"),
                    )
                yield response
        except (httpx2.HTTPError, httpx2.InvalidURL, MagnetError, UnicodeError) as error:
            raise failure_of(error) from None

    def stream_error(self, body: Any, kind: str = "bad_response") -> ProviderFailure:
        """The failure that a vendor tells inside a stream."""
        said = scrubbed(vendor_text(body), self.endpoint.secrets)
        return ProviderFailure(kind, "The model provider reported an error.", vendor_message=said)


def failure_of(error: Exception) -> ProviderFailure:
    if isinstance(error, MagnetError):
        return ProviderFailure("refused", str(error))
    if isinstance(error, httpx2.TimeoutException):
        return ProviderFailure("timeout", "The model provider did not answer in time.")
    if isinstance(error, httpx2.HTTPError):
        return ProviderFailure("connection", "The model provider cannot be reached.")
    return ProviderFailure("refused", "The provider's address or credential has characters that no request can carry.")


async def event_data(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The data of each event of a stream (WHATWG, server-sent events). An event without its blank line is not whole,
    so it is none. Raises ProviderFailure for bytes that are no text."""
    rest, lines = b"", []
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in (one.removesuffix(b"\r") for one in whole):
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" "))
            elif not line and lines:
                yield _text(b"\n".join(lines))
                lines = []


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ProviderFailure("bad_response", NO_ANSWER) from None


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        raise ProviderFailure("bad_response", NO_ANSWER) from None
    if not isinstance(found, dict):
        raise ProviderFailure("bad_response", NO_ANSWER)
    return found
