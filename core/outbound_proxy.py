"""A proxy on loopback with the same checks, for programs and libraries that take no transport: git, boto3.

It tunnels (`CONNECT host:port`) and forwards plain http, for whoever knows its password. A redirect or a second host
comes as a new request, and is checked as one. TLS stays between the program and the far end.
"""

import asyncio
import base64
import contextlib
import hmac
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpcore2
import httpx2
from django.conf import settings

from core.loop import run_in_loop
from core.outbound import CheckedBackend, Resolver, resolve
from core.outbound_allow import OutboundAllow, OutboundUse
from core.outbound_caps import CAPS, OutboundCaps
from core.outbound_rules import OutboundRefused, Refusal, parse_url, refused, target_of

HEAD_BYTES = 16 * 1024
HEAD_SECONDS = 10
CONNECT_SECONDS = 10
PIECE_BYTES = 64 * 1024
USER = "magnet"
# What is between a client and its proxy, and not for the other side.
_HOP_BY_HOP = ("connection", "keep-alive", "proxy-connection", "proxy-authorization", "host", "upgrade", "expect")


@dataclass
class OutboundProxy:
    """A running proxy. url: for `http_proxy` and the like. refusals: why requests were refused, oldest first."""

    url: str
    refusals: list[OutboundRefused] = field(default_factory=list)


@contextlib.contextmanager
def outbound_proxy(
    use: OutboundUse,
    *,
    allow: OutboundAllow | None = None,
    caps: OutboundCaps | None = None,
    resolver: Resolver = resolve,
    network: httpcore2.AsyncNetworkBackend | None = None,
) -> Iterator[OutboundProxy]:
    """Run a proxy for one use as long as the work inside takes; then its tunnels are cut.

    caps: bytes and seconds that one connection may take; those of the use by default. allow: settings.OUTBOUND_ALLOW.
    """
    allowed = settings.OUTBOUND_ALLOW if allow is None else allow
    backend = CheckedBackend(use, allowed, resolver=resolver, inner=network)
    server = _Server(use, allowed, caps or CAPS[use], backend)
    proxy = run_in_loop(server.start())
    try:
        yield proxy
    finally:
        run_in_loop(server.stop())


@dataclass(frozen=True)
class _Head:
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class _Unreadable(Exception):
    """What came is no request for a proxy."""


class _Server:
    def __init__(
        self, use: OutboundUse, allow: OutboundAllow, caps: OutboundCaps, backend: httpcore2.AsyncNetworkBackend
    ) -> None:
        self._use = use
        self._allow = allow
        self._caps = caps
        self._backend = backend
        self._password = secrets.token_urlsafe(24)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> OutboundProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_BYTES)
        port = self._server.sockets[0].getsockname()[1]
        self._proxy = OutboundProxy(f"http://{USER}:{self._password}@127.0.0.1:{port}")
        return self._proxy

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._bounded(reader, writer))
        self._tasks.add(task)
        await asyncio.wait({task})
        self._tasks.discard(task)
        writer.close()

    async def _bounded(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who leaves, takes too long or sends a body that is none, ends its own connection and nothing else.
        ends = (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError)
        with contextlib.suppress(*ends, httpcore2.NetworkError, httpcore2.TimeoutException):
            async with asyncio.timeout(self._caps.total_seconds):
                await self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await _read_head(reader)
            if not self._knows_password(head):
                _answer(writer, 407, "Proxy-Authenticate: Basic realm=magnet")
                return
            async with self._far_end(head) as far:
                if head.method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await self._relay(_all(reader), writer, far)
                else:
                    await far.write(_forwarded(head, self._use))
                    await self._relay(_one_body(reader, head), writer, _OneAnswer(far))
        except _Unreadable:
            _answer(writer, 400)
        except OutboundRefused as refusal:
            self._proxy.refusals.append(refusal)
            _answer(writer, 403)
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
            _answer(writer, 502)

    def _knows_password(self, head: _Head) -> bool:
        wanted = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        return hmac.compare_digest(head.header("proxy-authorization").encode(), wanted.encode())

    @contextlib.asynccontextmanager
    async def _far_end(self, head: _Head) -> AsyncIterator[httpcore2.AsyncNetworkStream]:
        target = target_of(_url(head, self._use), self._use, self._allow)
        far = await self._backend.connect_tcp(target.host, target.port, CONNECT_SECONDS)
        try:
            yield far
        finally:
            await far.aclose()

    async def _relay(
        self, upload: AsyncIterator[bytes], writer: asyncio.StreamWriter, far: "_Far | _OneAnswer"
    ) -> None:
        """Until one side has ended, or the far one has sent more than the cap."""
        both = {asyncio.ensure_future(_send(upload, far)), asyncio.ensure_future(self._receive(writer, far))}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _receive(self, writer: asyncio.StreamWriter, far: "_Far | _OneAnswer") -> None:
        received = 0
        while piece := await far.read(PIECE_BYTES):
            received += len(piece)
            if received > self._caps.max_bytes:
                return
            writer.write(piece)
            await writer.drain()


_Far = httpcore2.AsyncNetworkStream


class _OneAnswer:
    """The far end of a forwarded request. Its answer tells the client to close: the next request may be for another
    host, and has to come as a new connection."""

    def __init__(self, far: _Far) -> None:
        self._far = far
        self._head_is_read = False

    async def write(self, data: bytes) -> None:
        await self._far.write(data)

    async def read(self, size: int) -> bytes:
        if self._head_is_read:
            return await self._far.read(size)
        self._head_is_read = True
        received = b""
        while b"\r\n\r\n" not in received and len(received) < HEAD_BYTES:
            piece = await self._far.read(size)
            if not piece:
                return received
            received += piece
        head, end, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        kept = [line for line in lines if line.partition(b":")[0].lower() not in (b"connection", b"keep-alive")]
        return b"\r\n".join([first, b"Connection: close", *kept]) + end + rest


async def _send(upload: AsyncIterator[bytes], far: "_Far | _OneAnswer") -> None:
    async for piece in upload:
        await far.write(piece)


async def _all(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(PIECE_BYTES):
        yield piece


async def _one_body(reader: asyncio.StreamReader, head: _Head) -> AsyncIterator[bytes]:
    """The body of this request, and nothing that follows it; ends when the client leaves."""
    if head.header("transfer-encoding").lower() == "chunked":
        size = -1
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
    else:
        left = int(head.header("content-length") or 0)
        while left and (piece := await reader.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield piece
    await reader.read(1)


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            text = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
        first, *lines = text[:-4].split("\r\n")
        method, target, _version = first.split(" ")
        headers = [line.partition(":") for line in lines]
        if {"\r", "\n", "\0"} & set("".join((first, *lines))):
            raise _Unreadable
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise _Unreadable from error
    lengths = [value.strip() for name, _, value in headers if name.lower() == "content-length"]
    if len(lengths) > 1 or not all(one.isdecimal() for one in lengths):
        raise _Unreadable
    return _Head(method, target, tuple((name, value.strip()) for name, _, value in headers))


def _url(head: _Head, use: OutboundUse) -> httpx2.URL:
    """The address that the request is for. Raises OutboundRefused for one that is not plainly a host and a port."""
    if head.method != "CONNECT":
        url = parse_url(head.target, use)
        if url.scheme != "http":
            raise refused(Refusal.SCHEME, use)
        return url
    url = parse_url(f"https://{head.target}", use)
    if url.raw_path != b"/" or "?" in head.target or "#" in head.target or head.target.endswith("/"):
        raise refused(Refusal.MALFORMED, use)
    return url


def _forwarded(head: _Head, use: OutboundUse) -> bytes:
    """The request as its server takes it, for this one answer; Host names what was checked."""
    url = _url(head, use)
    lines = [f"{head.method} {url.raw_path.decode()} HTTP/1.1", f"Host: {url.netloc.decode()}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head.headers if name.lower() not in _HOP_BY_HOP]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _answer(writer: asyncio.StreamWriter, status: int, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status} Magnet", *headers, "Content-Length: 0", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
