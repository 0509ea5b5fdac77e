"""A server on loopback that speaks OpenAI's protocol and misbehaves as the name of the model says.

It is a stdlib asyncio server in a thread, because the tests need single bytes: streams that are cut inside a character,
bodies without an end. Every request is logged. It runs alone too: `python -m magnet.tests.scripted_provider 9009`.
"""

import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from magnet.tests import scripted_odd, scripted_tools  # noqa: F401  # they register their models
from magnet.tests.scripted_answers import CHAT, EMBEDDINGS, RERANKERS

REASONS = {200: "OK", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class ClientGone(Exception):
    """The other side closed its connection before the answer ended."""


@dataclass
class Call:
    """One request, as it came. abandoned: the client left before the answer ended. counted: the tokens, in and out,
    that the answer said it took."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    number: int = 0
    at: float = field(default_factory=time.monotonic)
    abandoned: bool = False
    finished: bool = False
    counted: tuple[int, int] = (0, 0)

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))


class Exchange:
    """What a script uses to answer one call."""

    def __init__(self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.call = call
        self._reader = reader
        self._writer = writer
        self.line_end = "\n"

    async def json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        await self.raw(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    async def error(self, status: int, message: str, headers: dict[str, str] | None = None, code: str = "") -> None:
        await self.json(status, {"error": {"message": message, "type": "scripted", "code": code}}, headers)

    async def raw(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": str(len(body))})
        await self.send(body)

    def begin_stream(self, *, chunked: bool = True, kind: str = "text/event-stream") -> None:
        """A stream; without chunks its only end is the end of the connection."""
        self._chunked = chunked
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}
        self._head(200, {"Content-Type": kind, **framing})

    async def event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        await self.part(f"data: {text}{self.line_end}{self.line_end}".encode())

    async def part(self, data: bytes) -> None:
        await self.send(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    async def end_stream(self) -> None:
        if self._chunked:
            await self.send(b"0\r\n\r\n")
        else:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Close the connection, whatever was promised."""
        self._writer.close()
        await self._writer.wait_closed()

    async def wait(self, seconds: float) -> None:
        """Be silent for a while; raises ClientGone when the other side leaves meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                if not await self._reader.read(1):
                    raise ClientGone
        except TimeoutError:
            return

    async def send(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientGone from error

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Scripted')}", *(f"{k}: {v}" for k, v in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())


class ScriptedProvider:
    """The server. Use it as a context manager; `url` is what a provider row takes as its base URL."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        self._port = port
        self._ready = threading.Event()
        self._counts: Counter[str] = Counter()
        self._connections = 0
        self.calls: list[Call] = []

    @property
    def endpoint(self) -> str:
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}/v1"

    @property
    def allow(self) -> dict[str, frozenset[str]]:
        """For settings.OUTBOUND_ALLOW."""
        return {"provider": frozenset({self.endpoint})}

    def reset(self) -> None:
        """Forget all calls; scripts that count start anew."""
        self.calls.clear()
        self._counts.clear()

    def calls_of(self, model: str) -> list[Call]:
        return [call for call in self.calls if call.model == model]

    def until_idle(self, seconds: float = 5) -> None:
        """Wait until every call has ended, one way or the other."""
        deadline = time.monotonic() + seconds
        while any(not (call.finished or call.abandoned) for call in self.calls):
            assert time.monotonic() < deadline, "a call to the scripted provider goes on"
            time.sleep(0.01)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Within the block nobody listens at the address."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    def __enter__(self) -> Self:
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the scripted provider did not start"
        return self

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, self._host, self._port, limit=64 * 2**20)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection = self._connections
        try:
            async for call in _calls(reader, connection):
                self._counts[call.model] += 1
                call.number = self._counts[call.model]
                self.calls.append(call)
                try:
                    await self._answer(Exchange(call, reader, writer))
                    call.finished = True
                except (ClientGone, ConnectionError):
                    call.abandoned = True
                if writer.is_closing() or call.abandoned:
                    break
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, exchange: Exchange) -> None:
        call = exchange.call
        match call.method, _plain(call.path):
            case "GET", "/models" if "unauthorized" in call.headers.get("authorization", ""):
                await CHAT["unauthorized"](exchange)
            case "GET", "/models":
                names = sorted({*CHAT, *EMBEDDINGS, *RERANKERS})
                await exchange.json(
                    200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
                )
            case "POST", "/chat/completions" if call.model in CHAT:
                await CHAT[call.model](exchange)
            case "POST", "/embeddings" if call.model in EMBEDDINGS:
                await EMBEDDINGS[call.model](exchange)
            case "POST", "/rerank" if call.model in RERANKERS:
                await RERANKERS[call.model](exchange)
            case _:
                await exchange.error(404, f"no such model here: {call.model}", code="model_not_found")


def _plain(path: str) -> str:
    """The path as OpenAI has it: Azure puts the deployment in front."""
    return re.sub(r"^/(v1|openai/deployments/[^/]+|openai)(?=/)", "", path.partition("?")[0])


def _read(headers: dict[str, str], body: bytes) -> dict[str, Any]:
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode()))
    return json.loads(body) if body else {}


async def _calls(reader: asyncio.StreamReader, connection: int) -> AsyncIterator[Call]:
    """The requests of one kept-alive connection."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _version = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        yield Call(method, path, headers, _read(headers, body), connection)


if __name__ == "__main__":
    with ScriptedProvider(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
