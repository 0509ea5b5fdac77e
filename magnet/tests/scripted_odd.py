"""Chat models whose bytes are odd: still right, or wrong in ways that no error message announces."""

import email.utils
import gzip
import json
import time
from typing import Any

from magnet.tests.scripted_answers import ANSWER, FOREVER, chat, chunk, ending, say, words

HALF = "Half an answer"


@chat("rate-limited-until")
async def _rate_limited_until(exchange: Any) -> None:
    """429 with a date once. HTTP dates have whole seconds, so the wait is between one second and two."""
    if exchange.call.number > 1:
        return await say(exchange)
    when = email.utils.formatdate(int(time.time()) + 2, usegmt=True)
    return await exchange.error(429, "later", {"Retry-After": when})


@chat("odd-frames")
async def _odd_frames(exchange: Any) -> None:
    """A role alone, no choices, an empty list of them, an unknown event: all without a word."""
    exchange.begin_stream()
    await exchange.event(chunk(exchange, {"role": "assistant"}))
    await exchange.event({**chunk(exchange, None), "choices": []})
    await exchange.part(b"event: heartbeat\ndata: {}\n\n")
    await words(exchange, ANSWER)
    await ending(exchange, ANSWER)


@chat("two-line-frame")
async def _two_line_frame(exchange: Any) -> None:
    """A frame in two `data:` lines, written in pieces of three bytes."""
    exchange.begin_stream()
    text = json.dumps(chunk(exchange, {"content": ANSWER}), ensure_ascii=False, indent=1)
    data = "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"
    for at in range(0, len(data), 3):
        await exchange.part(data[at : at + 3])
    await ending(exchange, ANSWER)


@chat("huge-frame")
async def _huge_frame(exchange: Any) -> None:
    exchange.begin_stream()
    await exchange.event(chunk(exchange, {"content": "ä" * 300_000}))
    await ending(exchange, "ä")


@chat("gzipped")
async def _gzipped(exchange: Any) -> None:
    """As a proxy does it that nobody asked."""
    frames = [chunk(exchange, {"content": ANSWER}), chunk(exchange, {}, "stop")]
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in frames).encode()
    await exchange.raw(200, gzip.compress(body), {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"})


@chat("promises-too-much")
async def _promises_too_much(exchange: Any) -> None:
    """A Content-Length that the body does not reach."""
    body = f"data: {json.dumps(chunk(exchange, {'content': HALF}))}\n\n".encode()
    exchange._head(200, {"Content-Type": "text/event-stream", "Content-Length": str(len(body) + 500)})
    await exchange.send(body)
    await exchange.hang_up()


@chat("cut-in-frame")
async def _cut_in_frame(exchange: Any) -> None:
    exchange.begin_stream(chunked=False)
    await words(exchange, HALF)
    await exchange.part(b'data: {"id": "chatcmpl-scripted", "choi')
    await exchange.hang_up()


@chat("broken-bytes")
async def _broken_bytes(exchange: Any) -> None:
    """Bytes in the middle of a whole frame that are no UTF-8."""
    exchange.begin_stream()
    await words(exchange, HALF)
    await exchange.part(b'data: {"choices": [{"index": 0, "delta": {"content": "caf\xc3("}}]}\n\n')
    await ending(exchange, HALF)


@chat("error-as-answer")
async def _error_as_answer(exchange: Any) -> None:
    await exchange.json(200, {"error": {"message": "no credit left for sk-body", "type": "billing"}})


@chat("broken-json")
async def _broken_json(exchange: Any) -> None:
    await exchange.raw(200, b'{"choices": [{"mess', {"Content-Type": "application/json"})


@chat("echo-slow")
async def _echo_slow(exchange: Any) -> None:
    """The last message a hundred times, one each 20 ms."""
    await say(exchange, f"{exchange.call.body['messages'][-1]['content']} " * 100, pause=0.02)


@chat("echo-stall")
async def _echo_stall(exchange: Any) -> None:
    """The last message twenty times, and then nothing more."""
    exchange.begin_stream()
    await words(exchange, f"{exchange.call.body['messages'][-1]['content']} " * 20)
    await exchange.wait(FOREVER)


async def _silent(exchange: Any, seconds: float) -> None:
    """Half an answer, silence, the other half."""
    exchange.begin_stream()
    await words(exchange, HALF)
    await exchange.wait(seconds)
    await exchange.event(chunk(exchange, {"content": " and the rest"}))
    await ending(exchange, f"{HALF} and the rest")


@chat("silent-2")
async def _silent_2(exchange: Any) -> None:
    await _silent(exchange, 2)


@chat("silent-32")
async def _silent_32(exchange: Any) -> None:
    """Longer than two comments of a stream are apart."""
    await _silent(exchange, 32)
