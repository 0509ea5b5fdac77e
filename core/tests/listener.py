"""A scripted server on loopback that keeps every request it got, and a certificate for it."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.loop import run_in_loop

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Listener:
    """A scripted server that keeps every request it got, and counts connections."""

    host: str = "127.0.0.3"
    port: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)
    answer: Callable[[str, asyncio.StreamWriter], Awaitable[None]] | bytes = OK

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                body = await reader.readexactly(int(length[0].split(":")[1])) if length else b""
                self.requests.append(head + body.decode())
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                else:
                    await self.answer(head, writer)
                await writer.drain()
                if b"Connection: close" in (self.answer if isinstance(self.answer, bytes) else b"Connection: close"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def listening(listener: Listener, tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    server = await asyncio.start_server(listener.serve, listener.host, 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


@contextmanager
def served(listener: Listener, tls: ssl.SSLContext | None = None) -> Iterator[Listener]:
    """The same for tests that are no coroutines: it runs on the process's own loop."""
    running = listening(listener, tls)
    run_in_loop(running.__aenter__())
    try:
        yield listener
    finally:
        run_in_loop(running.__aexit__(None, None, None))


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def make_certificate(folder: Path, *names: str) -> Path:
    """A self-signed certificate for these names, `models.lan` alone by default; its path."""
    names = names or ("models.lan",)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path
