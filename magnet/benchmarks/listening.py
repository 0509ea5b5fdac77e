"""A client for `benchmark stream` that costs little: one connection a request, the times at which words come."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.exceptions import ServiceUnavailable
from magnet.benchmarks.vendor import WORD

CALL_SECONDS = 60.0
MARK = WORD.strip().encode()


@dataclass(frozen=True)
class Call:
    """One request that is measured."""

    port: int
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def bytes(self) -> bytes:
        body = json.dumps(self.body).encode()
        given = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"{name}: {value}" for name, value in {**given, **self.headers}.items()]
        return "\r\n".join([f"POST {self.path} HTTP/1.1", *lines, "Connection: close", "", ""]).encode() + body


@dataclass
class Heard(asyncio.Protocol):
    """What came back, in milliseconds since the request: the first word, the end, the gaps between reads of words."""

    asked: bytes
    words: int = 0
    first_ms: float = 0.0
    whole_ms: float = 0.0
    gaps_ms: list[float] = field(default_factory=list)
    _tail: bytes = b""
    _last: float = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._began = time.perf_counter()
        transport.write(self.asked)

    def data_received(self, data: bytes) -> None:
        told = data.count(MARK)
        now = time.perf_counter()
        if told and not self.words:
            self.first_ms = (now - self._began) * 1000
        elif told:
            self.gaps_ms.append((now - self._last) * 1000)
        if told:
            self._last = now
            self.words += told
        self._tail = data[-300:]
        if data.endswith(b"0\r\n\r\n"):  # one that keeps the connection has told all
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.whole_ms = (time.perf_counter() - self._began) * 1000
        self.over.set()

    def __post_init__(self) -> None:
        self.over = asyncio.Event()

    @property
    def tail(self) -> str:
        return self._tail.decode(errors="replace")


async def hear(call: Call, heard: Heard | None = None) -> Heard:
    """Send the request and listen to the end. Raises ServiceUnavailable when no word comes."""
    heard = heard or Heard(call.bytes())
    async with asyncio.timeout(CALL_SECONDS):
        await asyncio.get_running_loop().create_connection(lambda: heard, "127.0.0.1", call.port)
        await heard.over.wait()
    if not heard.words:
        raise ServiceUnavailable(f"{call.path} told no word: {heard.tail}")
    return heard
