"""Answers that are meant to hurt, in every shape of client: cut at the stated size and time, and not kept in memory."""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import Iterator

import pytest

from core.outbound_caps import CAPS
from core.tests.listener import Listener, served
from core.tests.outbound_child import DRIPS, LARGE, READERS, SECONDS, USE
from magnet.environment import BASE_DIR
from magnet.tests.platform import clean_environment

TWO_GB = 2 * 10**9
MOST_GROWN = 100 * 10**6
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "%s"}}]}\n\n' % (b"word " * 200) * 50


def bomb() -> bytes:
    """Two gigabytes of zeros in some megabytes."""
    pack = zlib.compressobj(1, wbits=31)
    zeros = bytes(10**6)
    body = b"".join(pack.compress(zeros) for _ in range(TWO_GB // len(zeros))) + pack.flush()
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def pour(writer: asyncio.StreamWriter, head: bytes, piece: bytes, pause: float = 0.0) -> None:
    """Two gigabytes at most, or until the other side leaves."""
    writer.write(head)
    for _ in range(TWO_GB // len(piece)):
        if writer.is_closing():
            return
        writer.write(piece)
        await writer.drain()
        if pause:
            await asyncio.sleep(pause)


@pytest.fixture(scope="module")
def hostile() -> Iterator[Listener]:
    packed = bomb()
    chunk = b"%x\r\n%s\r\n"
    kinds = {
        "announced": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % TWO_GB, b"x" * 65536, 0),
        "chunked": (CHUNKED % b"text/plain", PIECE, 0),
        "until-closed": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, 0),
        "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Many: %s\r\n" % (b"y" * 50), 0),
        "events": (CHUNKED % b"text/event-stream", chunk % (len(EVENT), EVENT), 0),
        "drip": (b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.2),
        "drip-head": (b"HTTP/1.1 200 OK\r\n", b"x", 0.2),
        "drip-events": (CHUNKED % b"text/event-stream", chunk % (len(EVENT), EVENT), 0.2),
    }

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        kind = head.split(" ")[1].split("/")[1]
        if kind in kinds:
            await pour(writer, *kinds[kind])
        else:
            writer.write(packed if kind == "bomb" else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with served(Listener(answer=answer)) as listener:
        yield listener


@pytest.mark.exhaustive  # half a gigabyte over loopback for each shape
@pytest.mark.timeout(240)
@pytest.mark.parametrize("shape", READERS)
def test_hostile_answers_end_at_their_size_and_time_and_cost_no_memory(shape: str, hostile: Listener) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "core.tests.outbound_child", shape, hostile.endpoint],
        cwd=BASE_DIR,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert set(told) == {*LARGE, *DRIPS}
    assert told["chunked"]["grown"] > 0  # else the measure is blind
    assert {kind: one["grown"] for kind, one in told.items() if one["grown"] >= MOST_GROWN} == {}
    assert {kind: one["seconds"] for kind, one in told.items() if kind in DRIPS and one["seconds"] > SECONDS + 3} == {}
    if shape != "proxy":  # it cuts the connection, and what the program behind it says of that is its own
        assert [kind for kind, one in told.items() if one["ended"] == "read"] == []
        large = f"larger than {CAPS[USE].max_bytes} bytes"
        assert all(large in told[kind]["ended"] for kind in ("announced", "chunked", "bomb"))
        assert all(told[kind]["ended"].partition(":")[0] in ("ReadTimeout", "APITimeoutError") for kind in DRIPS)
