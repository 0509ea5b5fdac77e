"""What each model of the scripted provider does. The names are the documentation."""

import asyncio
import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from plugins.contracts import REFUSAL

Script = Callable[[Any], Awaitable[None]]

CHAT: dict[str, Script] = {}
EMBEDDINGS: dict[str, Script] = {}
RERANKERS: dict[str, Script] = {}

DIMENSIONS = 32
FOREVER = 60.0
ANSWER = "The scripted answer, in several words — with a café."

_WORD = re.compile(r"\w+")
_PASSAGE = re.compile(r"^\[(\d+)\][^\n]*\n(.+?)(?=\n\n\[\d+\]|\Z)", re.MULTILINE | re.DOTALL)


def chat(name: str) -> Callable[[Script], Script]:
    def register(script: Script) -> Script:
        CHAT[name] = script
        return script

    return register


def embedding(name: str) -> Callable[[Script], Script]:
    def register(script: Script) -> Script:
        EMBEDDINGS[name] = script
        return script

    return register


# --- parts of a chat answer


def chunk(exchange: Any, delta: dict[str, Any] | None, finish: str | None = None, index: int = 0) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": f"{exchange.call.model}-2026",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


def usage_of(exchange: Any, text: str) -> dict[str, Any]:
    """Words as tokens: easy to check."""
    given = sum(len(str(message["content"]).split()) for message in exchange.call.body["messages"])
    spoken = len(text.split())
    return {
        "prompt_tokens": given,
        "completion_tokens": spoken,
        "total_tokens": given + spoken,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


async def words(exchange: Any, text: str, pause: float = 0) -> None:
    await exchange.event(chunk(exchange, {"role": "assistant", "content": ""}))
    for word in re.findall(r"\S+\s*", text):
        if pause:
            await exchange.wait(pause)
        await exchange.event(chunk(exchange, {"content": word}))


async def ending(exchange: Any, text: str, finish: str = "stop", *, usage: bool = True, done: bool = True) -> None:
    await exchange.event(chunk(exchange, {}, finish))
    if usage and exchange.call.body.get("stream_options", {}).get("include_usage"):
        usage = usage_of(exchange, text)
        await exchange.event({**chunk(exchange, None), "choices": [], "usage": usage})
        exchange.call.counted = (usage["prompt_tokens"], usage["completion_tokens"])
    if done:
        await exchange.event("[DONE]")
    await exchange.end_stream()


async def say(exchange: Any, text: str = ANSWER, *, pause: float = 0, **end: Any) -> None:
    """A whole answer, streamed."""
    exchange.begin_stream()
    await words(exchange, text, pause)
    await ending(exchange, text, **end)


def user_text(exchange: Any) -> str:
    return "\n".join(str(message["content"]) for message in exchange.call.body["messages"])


# --- chat models that answer


@chat("ok")
async def _ok(exchange: Any) -> None:
    await say(exchange)


@chat("echo")
async def _echo(exchange: Any) -> None:
    await say(exchange, str(exchange.call.body["messages"][-1]["content"]))


@chat("json-second")
async def _json_second(exchange: Any) -> None:
    """Says something about JSON first, and JSON when asked again."""
    await say(exchange, "Sure! days are 28" if exchange.call.number == 1 else '```json\n{"days": 28}\n```')


@chat("cites")
async def _cites(exchange: Any) -> None:
    """The first sentence of the first numbered passage, with its marker."""
    found = _PASSAGE.search(user_text(exchange))
    sentence = re.split(r"(?<=[.!?])\s", found[2].strip())[0] if found else "There was no passage."
    await say(exchange, f"{sentence} [1]")


@chat("cites-unknown")
async def _cites_unknown(exchange: Any) -> None:
    await say(exchange, "This is known [1][99].")


@chat("refuses")
async def _refuses(exchange: Any) -> None:
    await say(exchange, REFUSAL)


@chat("slow")
async def _slow(exchange: Any) -> None:
    """Two hundred words, one each 50 ms."""
    await say(exchange, "word " * 200, pause=0.05)


@chat("steady")
async def _steady(exchange: Any) -> None:
    """Forty words, one each 50 ms."""
    await say(exchange, "word " * 40, pause=0.05)


@chat("length")
async def _length(exchange: Any) -> None:
    await say(exchange, finish="length")


@chat("filtered")
async def _filtered(exchange: Any) -> None:
    await say(exchange, finish="content_filter")


@chat("no-usage")
async def _no_usage(exchange: Any) -> None:
    await say(exchange, usage=False)


@chat("no-done")
async def _no_done(exchange: Any) -> None:
    await say(exchange, done=False)


@chat("odd-lines")
async def _odd_lines(exchange: Any) -> None:
    """CRLF, comments, a second choice, deltas without content: all allowed."""
    exchange.line_end = "\r\n"
    exchange.begin_stream()
    await exchange.part(b": a comment\r\n\r\n")
    await exchange.event(chunk(exchange, None))
    await exchange.event(chunk(exchange, {"content": None}))
    await exchange.event(chunk(exchange, {"content": "Not this. "}, index=1))
    await words(exchange, ANSWER)
    await ending(exchange, ANSWER)


# --- chat models that break off


@chat("cut")
async def _cut(exchange: Any) -> None:
    """Half an answer, then the connection ends in order: no chunking, no length, no finish reason."""
    exchange.begin_stream(chunked=False)
    await words(exchange, "Half an answer")
    await exchange.hang_up()


@chat("cut-chunked")
async def _cut_chunked(exchange: Any) -> None:
    exchange.begin_stream()
    await words(exchange, "Half an answer")
    await exchange.hang_up()


@chat("cut-in-character")
async def _cut_in_character(exchange: Any) -> None:
    exchange.begin_stream(chunked=False)
    await words(exchange, "Half an answer")
    whole = json.dumps(chunk(exchange, {"content": " in a café"}), ensure_ascii=False).encode()
    await exchange.part(b"data: " + whole[: whole.index("é".encode()) + 1])
    await exchange.hang_up()


@chat("cut-at-once")
async def _cut_at_once(exchange: Any) -> None:
    """The first call ends before a word was said, the next one answers."""
    if exchange.call.number > 1:
        return await say(exchange)
    exchange.begin_stream(chunked=False)
    await exchange.hang_up()
    return None


@chat("error-frame")
async def _error_frame(exchange: Any) -> None:
    exchange.begin_stream()
    await words(exchange, "Half an answer")
    await exchange.event({"error": {"message": "overloaded, key sk-frame", "type": "server_error"}})
    await exchange.end_stream()


@chat("error-frame-first")
async def _error_frame_first(exchange: Any) -> None:
    exchange.begin_stream()
    await exchange.event({"error": {"message": "overloaded, key sk-frame", "type": "server_error"}})
    await exchange.end_stream()


@chat("junk-frames")
async def _junk_frames(exchange: Any) -> None:
    """Events that are JSON and no chunks, then one that is no JSON."""
    exchange.begin_stream()
    for junk in ("[1, 2]", '"text"', "{}", "null"):
        await exchange.event(junk)
    await words(exchange, "Half an answer")
    await exchange.event("{no json")
    await exchange.end_stream()


@chat("stall")
async def _stall(exchange: Any) -> None:
    exchange.begin_stream()
    await words(exchange, "Half an answer")
    await exchange.wait(FOREVER)


# --- failures that chat and embedding models share


def _fails(name: str, status: int, times: int, headers: dict[str, str] | None = None) -> None:
    """A model that answers its first `times` calls with this status."""

    def scripted(answers: Script) -> Script:
        async def script(exchange: Any) -> None:
            if exchange.call.number > times:
                await answers(exchange)
            else:
                await exchange.error(status, "scripted failure, try key sk-leaked", headers)

        return script

    CHAT[name] = scripted(_ok)
    EMBEDDINGS[name] = scripted(_embed)
    RERANKERS[name] = scripted(_rerank)


async def _unauthorized(exchange: Any) -> None:
    await exchange.error(401, f"Incorrect API key provided: {exchange.call.headers.get('authorization')}")


async def _hang(exchange: Any) -> None:
    await exchange.wait(FOREVER)


async def _not_json(exchange: Any) -> None:
    await exchange.raw(200, b"<html>a proxy's page</html>", {"Content-Type": "text/html"})


async def _redirects(exchange: Any) -> None:
    await exchange.raw(307, b"", {"Location": "http://127.0.0.2:9/stolen"})


# --- embeddings


def embed_text(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A unit vector of hashed words: the same words give the same vector, shared words a positive cosine."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()) or [""]:
        digest = hashlib.sha256(word.encode()).digest()
        vector[int.from_bytes(digest[:4], "big") % dimensions] += 1 if digest[4] % 2 else -1
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else [1.0, *vector[1:]]


async def _vectors(
    exchange: Any, vectors: list[list[float]], *, packed: bool | None = None, usage: bool = True
) -> None:
    packed = exchange.call.body.get("encoding_format") == "base64" if packed is None else packed
    data = [
        {"object": "embedding", "index": n, "embedding": _packed(vector) if packed else vector}
        for n, vector in enumerate(vectors)
    ]
    spent = sum(len(str(text).split()) for text in exchange.call.body["input"])
    counted = {"usage": {"prompt_tokens": spent, "total_tokens": spent}} if usage else {}
    await exchange.json(200, {"object": "list", "model": exchange.call.model, "data": data[::-1], **counted})
    exchange.call.counted = (spent if usage else 0, 0)


def _packed(vector: list[float]) -> str:
    """Little-endian float32 in base64, as the vendor packs them."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _asked(exchange: Any, dimensions: int = DIMENSIONS) -> list[list[float]]:
    size = int(exchange.call.body.get("dimensions") or dimensions)
    return [embed_text(str(text), size) for text in exchange.call.body["input"]]


@embedding("embed")
async def _embed(exchange: Any) -> None:
    await _vectors(exchange, _asked(exchange))


@embedding("embed-floats")
async def _embed_floats(exchange: Any) -> None:
    """Plain numbers, although base64 was asked for."""
    await _vectors(exchange, _asked(exchange), packed=False)


@embedding("embed-packed")
async def _embed_packed(exchange: Any) -> None:
    await _vectors(exchange, _asked(exchange), packed=True)


@embedding("embed-no-usage")
async def _embed_no_usage(exchange: Any) -> None:
    await _vectors(exchange, _asked(exchange), usage=False)


@embedding("embed-wrong-size")
async def _embed_wrong_size(exchange: Any) -> None:
    """Twice the size that was asked for."""
    await _vectors(exchange, _asked(exchange, 2 * DIMENSIONS))


@embedding("embed-ragged")
async def _embed_ragged(exchange: Any) -> None:
    await _vectors(exchange, [vector[: len(vector) - n] for n, vector in enumerate(_asked(exchange))])


@embedding("embed-nan")
async def _embed_nan(exchange: Any) -> None:
    await _vectors(exchange, [[float("nan"), *vector[1:]] for vector in _asked(exchange)], packed=True)


@embedding("embed-zero")
async def _embed_zero(exchange: Any) -> None:
    await _vectors(exchange, [[0.0] * DIMENSIONS for _ in _asked(exchange)])


@embedding("embed-too-few")
async def _embed_too_few(exchange: Any) -> None:
    await _vectors(exchange, _asked(exchange)[1:])


@embedding("embed-at-most-two")
async def _embed_at_most_two(exchange: Any) -> None:
    """Refuses requests of more than two texts, as servers with a batch limit do."""
    if len(exchange.call.body["input"]) > 2:
        await exchange.error(400, "too many inputs")
    else:
        await _vectors(exchange, _asked(exchange))


@embedding("embed-never")
async def _embed_never(exchange: Any) -> None:
    await exchange.error(400, "this input is refused, whatever it is")


@embedding("embed-slow")
async def _embed_slow(exchange: Any) -> None:
    await asyncio.sleep(0.2)
    await _vectors(exchange, _asked(exchange))


# --- rerank


def overlaps(query: str, documents: list[str]) -> list[float]:
    """The share of the query's words that each document has."""
    wanted = set(_WORD.findall(query.lower()))
    return [len(wanted & set(_WORD.findall(text.lower()))) / (len(wanted) or 1) for text in documents]


async def _rerank(exchange: Any) -> None:
    body = exchange.call.body
    scored = list(enumerate(overlaps(body["query"], body["documents"])))
    best = sorted(scored, key=lambda one: -one[1])[: body.get("top_n")]
    rows = [{"index": index, "relevance_score": score} for index, score in best]
    await exchange.json(200, {"model": body["model"], "results": rows, "usage": {"total_tokens": 9}})


async def _rerank_elsewhere(exchange: Any) -> None:
    """Scores a document that it was not sent."""
    await exchange.json(200, {"results": [{"index": 99, "relevance_score": 1.0}]})


RERANKERS.update({"rerank": _rerank, "rerank-elsewhere": _rerank_elsewhere})

_fails("rate-limited-once", 429, 1, {"Retry-After": "1"})
_fails("rate-limited", 429, 10**9, {"Retry-After": "120"})
_fails("unavailable", 503, 10**9)
_fails("unavailable-twice", 503, 2)
_fails("unavailable-five-times", 503, 5)
_fails("fails-twice", 500, 2)
_fails("refuses-request", 400, 10**9)
for _name, _script in {
    "unauthorized": _unauthorized,
    "hang": _hang,
    "not-json": _not_json,
    "redirects": _redirects,
}.items():
    CHAT[_name] = EMBEDDINGS[_name] = RERANKERS[_name] = _script
