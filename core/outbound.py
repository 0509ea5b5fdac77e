"""The one place where HTTP clients are built. Every connection goes to an address that was checked just before.

The check sits where the socket is opened, so it holds for every SDK that takes an httpx2 client or transport, and a
name that changes its address between check and use gains nothing. `async_client` is what SDKs and own code take;
`async_transport` is for SDKs that build their own client (set `trust_env=False, follow_redirects=False` there).
"""

import asyncio
import contextlib
import functools
import http.cookiejar
import socket
import ssl
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, cast

import httpcore2
import httpx2
from django.conf import settings

from core.outbound_allow import OutboundAllow, OutboundUse
from core.outbound_caps import CAPS, Gunzip, OutboundCaps, OutboundLimit, decoder_for, too_large
from core.outbound_rules import (
    OutboundRefused,
    Refusal,
    Target,
    check_addresses,
    check_url,
    parse_url,
    refused,
    target_of,
)

__all__ = [
    "DEFAULT_TIMEOUT",
    "NoAnswer",
    "OutboundCaps",
    "OutboundLimit",
    "OutboundRefused",
    "OutboundUse",
    "async_client",
    "async_transport",
    "check_url",
]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

DEFAULT_TIMEOUT = httpx2.Timeout(connect=5, read=60, write=30, pool=10)
# What a request raises that got no answer, for those who may not know the client behind it.
NoAnswer = httpx2.HTTPError
RESOLVE_SECONDS = 5
MAX_REDIRECTS = 3
DEADLINE = "outbound_deadline"

# A request that was sent to another origin carries these of the original one, and nothing else.
_HEADERS_FOR_OTHER_ORIGINS = ("accept", "accept-language", "user-agent")
_SAME_METHOD = (httpx2.codes.TEMPORARY_REDIRECT, httpx2.codes.PERMANENT_REDIRECT)


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, by the system's resolver; empty when there are none."""
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The system's roots (or SSL_CERT_FILE); Mozilla's where a bare machine has none."""
    context = httpx2.create_ssl_context()
    if not context.get_ca_certs():
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    return context


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to checked addresses only. The pool above keeps the name for Host, SNI and the certificate."""

    def __init__(
        self,
        use: OutboundUse,
        allow: OutboundAllow,
        *,
        resolver: Resolver = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._use = use
        self._allow = allow
        self._resolver = resolver
        self._inner = httpcore2.AnyIOBackend() if inner is None else inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface has it
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        target = Target("", host, port)
        addresses = check_addresses(target, await self._resolver(host, port), self._use, self._allow)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
        return await self._inner.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OutboundTransport(httpx2.AsyncBaseTransport):
    """A connection pool that checks the URL of each request and caps each answer. Follows no redirect."""

    def __init__(
        self,
        use: OutboundUse,
        *,
        allow: OutboundAllow,
        caps: OutboundCaps,
        backend: httpcore2.AsyncNetworkBackend,
        ssl_context: ssl.SSLContext,
    ) -> None:
        self._use = use
        self._allow = allow
        self._caps = caps
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=30,
            network_backend=backend,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises OutboundRefused, OutboundLimit, or httpx2's own errors."""
        target_of(request.url, self._use, self._allow)
        deadline = request.extensions.get(DEADLINE) or time.monotonic() + self._caps.total_seconds
        with _httpx_errors(request):
            async with asyncio.timeout(deadline - time.monotonic()):
                answer = await self._pool.handle_async_request(_core_request(request))
        body = _CappedBody(answer, request, self._caps, deadline)
        try:
            return self._response(request, answer, body)
        except OutboundLimit:
            await body.aclose()
            raise

    def _response(self, request: httpx2.Request, answer: httpcore2.Response, body: "_CappedBody") -> httpx2.Response:
        if len(answer.headers) > self._caps.max_headers:
            raise OutboundLimit(f"The answer has more than {self._caps.max_headers} headers.")
        headers = httpx2.Headers(answer.headers)
        body.decoder = decoder_for(headers.get("content-encoding", ""), self._caps.max_bytes)
        if body.decoder is not None:
            del headers["content-encoding"]
            headers.pop("content-length", None)
        elif request.method != "HEAD" and int(headers.get("content-length", 0)) > self._caps.max_bytes:
            raise too_large(self._caps.max_bytes)
        kept = {key: answer.extensions[key] for key in ("http_version", "reason_phrase") if key in answer.extensions}
        return httpx2.Response(answer.status, headers=headers, stream=body, extensions=kept)

    async def aclose(self) -> None:
        await self._pool.aclose()


class _CappedBody(httpx2.AsyncByteStream):
    """The body as it comes, until it is too large or too late."""

    def __init__(
        self, answer: httpcore2.Response, request: httpx2.Request, caps: OutboundCaps, deadline: float
    ) -> None:
        self._answer = answer
        self._request = request
        self._caps = caps
        self._deadline = deadline
        self._received = 0
        self.decoder: Gunzip | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # The openai client iterates a second time, for what follows `[DONE]`: the stream goes on, the count too.
        stream = cast(AsyncIterable[bytes], self._answer.stream)
        async with contextlib.aclosing(cast(AsyncGenerator[bytes, None], aiter(stream))) as parts:
            while (part := await self._next(parts)) is not None:
                self._received += len(part)
                if self._received > self._caps.max_bytes:
                    raise too_large(self._caps.max_bytes)
                for piece in (part,) if self.decoder is None else self.decoder.decode(part):
                    yield piece
        if self.decoder is not None and self._received:
            self.decoder.finish(self._request)

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        with _httpx_errors(self._request):
            async with asyncio.timeout(self._deadline - time.monotonic()):
                return await anext(parts, None)

    async def aclose(self) -> None:
        await self._answer.aclose()


def _core_request(request: httpx2.Request) -> httpcore2.Request:
    """Host always names the checked host, and nothing but the timeouts passes from the caller's extensions."""
    forced = {b"host": request.url.netloc, b"accept-encoding": b"gzip, deflate"}
    headers = [*forced.items(), *((name, value) for name, value in request.headers.raw if name.lower() not in forced)]
    url = httpcore2.URL(
        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
    )
    timeouts = request.extensions.get("timeout") or DEFAULT_TIMEOUT.as_dict()
    return httpcore2.Request(
        request.method, url, headers=headers, content=request.stream, extensions={"timeout": timeouts}
    )


@contextlib.contextmanager
def _httpx_errors(request: httpx2.Request) -> Iterator[None]:
    """Both libraries name their errors alike; the nearest name in the ancestry is the most exact."""
    try:
        yield
    except TimeoutError as error:
        raise httpx2.ReadTimeout("The answer took longer than its total time.", request=request) from error
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        names = (cls.__name__ for cls in type(error).__mro__)
        kind: type[httpx2.TransportError] = next(getattr(httpx2, name) for name in names if hasattr(httpx2, name))
        raise kind(str(error), request=request) from error


class OutboundClient(httpx2.AsyncClient):
    """An httpx2 client that keeps no cookies, reads no environment and follows redirects by our rules."""

    def __init__(self, use: OutboundUse, caps: OutboundCaps, **arguments: Any) -> None:
        no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
        super().__init__(trust_env=False, follow_redirects=False, cookies=no_cookies, **arguments)
        self._use = use
        self._caps = caps

    def build_request(self, *arguments: Any, **options: Any) -> httpx2.Request:
        """Raises OutboundRefused for what the client's parser cannot read: callers know that error, and no other."""
        try:
            return super().build_request(*arguments, **options)
        except httpx2.InvalidURL as error:
            raise refused(Refusal.MALFORMED, self._use) from error

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send, and follow up to three redirects; each is checked like a first request.

        Raises httpx2.TooManyRedirects at the fourth. `follow_redirects` is accepted and has no effect.
        """
        options["follow_redirects"] = False
        request.extensions = {**request.extensions, DEADLINE: time.monotonic() + self._caps.total_seconds}
        response = await super().send(request, stream=stream, **options)
        history: list[httpx2.Response] = []
        while response.has_redirect_location:
            await response.aclose()
            if len(history) == MAX_REDIRECTS:
                raise httpx2.TooManyRedirects(f"More than {MAX_REDIRECTS} redirects.", request=request)
            history.append(response)
            request = redirected(request, response, self._use)
            response = await super().send(request, stream=stream, auth=None, follow_redirects=False)
            response.history = list(history)
        return response


def redirected(request: httpx2.Request, response: httpx2.Response, use: OutboundUse) -> httpx2.Request:
    """The request that a redirect asks for.

    At another origin it is a GET without body, credentials and headers of the caller. At the same one it keeps
    them; the method stays for 307 and 308, and becomes GET otherwise (RFC 9110, 15.4), HEAD stays HEAD.
    Raises OutboundRefused for a Location that is no clean address.
    """
    location = parse_url(response.headers["location"], use)
    try:
        url = request.url.join(location)
        same_origin = httpx2.Origin(url) == httpx2.Origin(request.url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise refused(Refusal.MALFORMED, use) from error
    headers = httpx2.Headers(request.headers)
    headers.pop("host", None)
    method = "HEAD" if request.method == "HEAD" else "GET"
    if same_origin and response.status_code in _SAME_METHOD:
        if not isinstance(request.stream, httpx2.ByteStream):
            raise httpx2.RemoteProtocolError("The redirect asks for a body that cannot be sent twice.", request=request)
        return httpx2.Request(
            request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
        )
    for name in ("content-length", "content-type", "transfer-encoding"):
        headers.pop(name, None)
    if not same_origin:
        headers = httpx2.Headers({name: headers[name] for name in _HEADERS_FOR_OTHER_ORIGINS if name in headers})
    return httpx2.Request(method, url, headers=headers, extensions=request.extensions)


def async_transport(
    use: OutboundUse,
    *,
    caps: OutboundCaps | None = None,
    allow: OutboundAllow | None = None,
    resolver: Resolver = resolve,
    network: httpcore2.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> httpx2.AsyncBaseTransport:
    """The checked transport for SDKs that want to build their own client.

    caps: defaults to those of the use. allow: defaults to settings.OUTBOUND_ALLOW. network opens the sockets
    after the check. The answers are raw: 3xx is handed back.
    """
    allowed = settings.OUTBOUND_ALLOW if allow is None else allow
    return OutboundTransport(
        use,
        allow=allowed,
        caps=caps or CAPS[use],
        backend=CheckedBackend(use, allowed, resolver=resolver, inner=network),
        ssl_context=ssl_context or tls_context(),
    )


def async_client(
    use: OutboundUse,
    *,
    timeout: httpx2.Timeout = DEFAULT_TIMEOUT,
    caps: OutboundCaps | None = None,
    headers: dict[str, str] | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """A client for one use and one event loop; the caller closes it. SDKs take it as their `http_client`.

    timeout: of each step, in seconds; the whole is capped by caps.total_seconds. transport: from `async_transport`.
    """
    caps = caps or CAPS[use]
    return OutboundClient(
        use, caps, timeout=timeout, headers=headers, transport=transport or async_transport(use, caps=caps)
    )
