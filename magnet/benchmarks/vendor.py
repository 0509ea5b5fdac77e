"""A vendor for `benchmark stream`, in a process of its own: as much of OpenAI's chat stream as is measured.

`python -m magnet.benchmarks.vendor PORT`, without Django and as cheap as asyncio allows, so that it costs what it talks
to as little of the machine as can be. The model's name says how it talks: `w20-3-1` tells 20 words, the first after
3 ms, and one each millisecond behind it.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

WORD = "zzword "
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Speech:
    """How a model talks: how many words, with milliseconds before the first and before each other one."""

    words: int
    first_ms: int
    gap_ms: int

    @property
    def model(self) -> str:
        return f"w{self.words}-{self.first_ms}-{self.gap_ms}"

    @classmethod
    def of(cls, model: str) -> "Speech":
        return cls(*(int(part) for part in re.findall("[0-9]+", model)))


async def serve(port: int) -> None:
    """Listen on loopback until the process is ended."""
    server = await asyncio.start_server(_converse, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until the other side leaves."""
    try:
        async for asked in _requests(reader):
            await _tell(writer, Speech.of(asked["model"]))
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = re.search(rb"content-length: *([0-9]+)", head)
        yield json.loads(await reader.readexactly(int(length[1]) if length else 0))


async def _tell(writer: asyncio.StreamWriter, speech: Speech) -> None:
    """Each word at its time; a vendor that comes late does not wait for the next one."""
    loop = asyncio.get_running_loop()
    word = _chunk([_choice({"content": WORD}, None)])
    writer.write(HEAD)
    due = loop.time() + speech.first_ms / 1000
    for _ in range(speech.words):
        await asyncio.sleep(max(0.0, due - loop.time()))
        writer.write(word)
        due += speech.gap_ms / 1000
    usage = {"prompt_tokens": 10, "completion_tokens": speech.words, "total_tokens": 10 + speech.words}
    writer.write(_chunk([_choice({}, "stop")]) + _chunk([], usage) + _framed(b"data: [DONE]\n\n") + END)
    await writer.drain()


def _choice(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "w", "choices": choices}
    return _framed(b"data: %s\n\n" % json.dumps({**chunk, **({"usage": usage} if usage else {})}).encode())


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
