"""Scripted servers of vendors with protocols of their own. What a model does is in its name, as with OpenAI's:

ok · tools (a call, then an answer) · cut (in the text) · cut-call · length-call · echo-key (401 that repeats the key).
"""

import json
import re
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from magnet.tests.scripted_answers import ANSWER, embed_text, overlaps
from magnet.tests.scripted_provider import Exchange, ScriptedProvider

ARGUMENTS = {"path": "/home/alice/old/backups"}
RAW = json.dumps(ARGUMENTS)
HALF = "Half an answer"
DIMENSIONS = 8


class VendorServer(ScriptedProvider):
    """A server whose answers one function gives."""

    def __init__(self, answer: Callable[[Exchange], Awaitable[None]]) -> None:
        super().__init__()
        self._script = answer

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    async def _answer(self, exchange: Exchange) -> None:
        await self._script(exchange)


def pieces(text: str, size: int = 6) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


async def echo_key(exchange: Exchange) -> None:
    """Everything that the caller proved itself with comes back in the error."""
    shown = {k: v for k, v in exchange.call.headers.items() if k in ("authorization", "x-api-key", "x-goog-api-key")}
    await exchange.json(401, {"error": {"message": f"Incorrect API key provided: {shown}. Get one in the console."}})


# --- Anthropic


async def anthropic(exchange: Exchange) -> None:
    call = exchange.call
    model = call.model
    if model == "echo-key" or "unauthorized" in call.headers.get("x-api-key", ""):
        return await echo_key(exchange)
    if call.path.startswith("/v1/models"):
        return await exchange.json(200, {"data": [{"id": "claude-test", "display_name": "Claude Test"}]})
    if model == "overloaded-first" and call.number == 1:
        exchange.begin_stream()
        await exchange.event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
        return await exchange.end_stream()
    exchange.begin_stream(chunked="cut" not in model)
    usage = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 1}
    await exchange.event({"type": "message_start", "message": {"model": f"{model}-2026", "usage": usage}})
    await exchange.event({"type": "ping"})
    answered = any(part.get("type") == "tool_result" for turn in call.body["messages"] for part in turn["content"])
    if model in ("tools", "thinks", "cut-call", "length-call", "no-input") and not answered:
        return await _anthropic_call(exchange, model)
    text = HALF if model == "cut" else ANSWER
    await exchange.event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for piece in pieces(text):
        delta = {"type": "text_delta", "text": piece}
        await exchange.event({"type": "content_block_delta", "index": 0, "delta": delta})
    if model == "cut":
        return await exchange.hang_up()
    await exchange.event({"type": "content_block_stop", "index": 0})
    return await _anthropic_end(exchange, "end_turn")


async def _anthropic_call(exchange: Exchange, model: str) -> None:
    if model == "thinks":
        block = {"type": "thinking", "thinking": "", "signature": ""}
        await exchange.event({"type": "content_block_start", "index": 0, "content_block": block})
        for delta in ({"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "sig"}):
            await exchange.event({"type": "content_block_delta", "index": 0, "delta": delta})
        await exchange.event({"type": "content_block_stop", "index": 0})
    block = {"type": "tool_use", "id": "toolu_1", "name": "delete", "input": {}}
    await exchange.event({"type": "content_block_start", "index": 1, "content_block": block})
    sent = {"cut-call": RAW[:14], "no-input": ""}.get(model, RAW)
    for piece in ["", *pieces(sent)]:
        delta = {"type": "input_json_delta", "partial_json": piece}
        await exchange.event({"type": "content_block_delta", "index": 1, "delta": delta})
    if model == "cut-call":
        return await exchange.hang_up()
    await exchange.event({"type": "content_block_stop", "index": 1})
    return await _anthropic_end(exchange, "max_tokens" if model == "length-call" else "tool_use")


async def _anthropic_end(exchange: Exchange, reason: str) -> None:
    delta = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}}
    await exchange.event(delta)
    await exchange.event({"type": "message_stop"})
    await exchange.end_stream()


# --- Google


async def google(exchange: Exchange) -> None:
    call = exchange.call
    if call.path == "/token":
        return await exchange.json(200, {"access_token": "ya29.scripted-token", "expires_in": 3600})
    if call.path.startswith("/models?"):
        if "unauthorized" in call.headers.get("x-goog-api-key", ""):
            return await echo_key(exchange)
        names = {"models/gemini-test": ["generateContent"], "models/embed-test": ["embedContent"]}
        rows = [{"name": name, "supportedGenerationMethods": methods} for name, methods in names.items()]
        return await exchange.json(200, {"models": rows})
    found = re.search(r"/models/([^:/]+):(\w+)", call.path)
    assert found is not None, call.path
    model, verb = found[1], found[2]
    if model == "echo-key":
        return await echo_key(exchange)
    if verb == "batchEmbedContents":
        texts = [one["content"]["parts"][0]["text"] for one in call.body["requests"]]
        return await exchange.json(200, {"embeddings": [{"values": embed_text(text, DIMENSIONS)} for text in texts]})
    if verb == "predict":
        rows = [
            {"embeddings": {"values": embed_text(one["content"], DIMENSIONS), "statistics": {"token_count": 2}}}
            for one in call.body["instances"]
        ]
        return await exchange.json(200, {"predictions": rows})
    return await _google_chat(exchange, model)


async def _google_chat(exchange: Exchange, model: str) -> None:
    exchange.begin_stream(chunked="cut" not in model)
    answered = any("functionResponse" in part for turn in exchange.call.body["contents"] for part in turn["parts"])
    if model == "blocked":
        await exchange.event({"promptFeedback": {"blockReason": "SAFETY"}})
        return await exchange.end_stream()
    if model in ("tools", "gemini-3-tools", "cut-call", "length-call", "malformed-call") and not answered:
        parts: list[dict[str, Any]] = [{"text": "Hm.", "thought": True}]
        if model != "malformed-call":
            parts.append({"functionCall": {"name": "delete", "args": ARGUMENTS}, "thoughtSignature": "sig"})
        await exchange.event({"modelVersion": f"{model}-2026", "candidates": [{"content": {"parts": parts}}]})
        if model == "cut-call":
            return await exchange.hang_up()
        reason = {"length-call": "MAX_TOKENS", "malformed-call": "MALFORMED_FUNCTION_CALL"}.get(model, "STOP")
        return await _google_end(exchange, model, reason)
    for piece in pieces(HALF if model == "cut" else ANSWER):
        await exchange.event({"candidates": [{"content": {"parts": [{"text": piece}]}}]})
    if model == "cut":
        return await exchange.hang_up()
    return await _google_end(exchange, model, "STOP")


async def _google_end(exchange: Exchange, model: str, reason: str) -> None:
    usage = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 3,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 2,
    }
    last = {"candidates": [{"finishReason": reason}], "usageMetadata": usage, "modelVersion": f"{model}-2026"}
    await exchange.event(last)
    await exchange.end_stream()


# --- Cohere


async def cohere(exchange: Exchange) -> None:
    call = exchange.call
    if call.model == "echo-key" or "unauthorized" in call.headers.get("authorization", ""):
        return await echo_key(exchange)
    match call.path.partition("?")[0]:
        case "/v1/models":
            rows = [{"name": "command-test", "endpoints": ["chat"]}, {"name": "rerank-test", "endpoints": ["rerank"]}]
            return await exchange.json(200, {"models": rows})
        case "/v2/embed":
            vectors = [embed_text(text, DIMENSIONS) for text in call.body["texts"]]
            billed = {"billed_units": {"input_tokens": 4}}
            return await exchange.json(200, {"embeddings": {"float": vectors}, "meta": billed})
        case "/v2/rerank":
            return await exchange.json(200, {"results": ranked(call.body, "documents", "top_n")})
    return await _cohere_chat(exchange, call.model)


def ranked(body: dict[str, Any], documents: str, top: str) -> list[dict[str, Any]]:
    scored = enumerate(overlaps(body["query"], body[documents]))
    best = sorted(scored, key=lambda one: -one[1])[: body.get(top)]
    return [{"index": index, "relevance_score": score} for index, score in best]


async def _cohere_chat(exchange: Exchange, model: str) -> None:
    exchange.begin_stream(chunked="cut" not in model)
    await exchange.event({"type": "message-start", "id": "1"})
    answered = any(turn["role"] == "tool" for turn in exchange.call.body["messages"])
    if model in ("tools", "cut-call", "length-call") and not answered:
        await exchange.event({"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will."}}})
        begun = {"id": "delete_1", "type": "function", "function": {"name": "delete", "arguments": ""}}
        await exchange.event({"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": begun}}})
        for piece in pieces(RAW[:14] if model == "cut-call" else RAW):
            more = {"function": {"arguments": piece}}
            await exchange.event({"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": more}}})
        if model == "cut-call":
            return await exchange.hang_up()
        await exchange.event({"type": "tool-call-end", "index": 0})
        return await _cohere_end(exchange, "MAX_TOKENS" if model == "length-call" else "TOOL_CALL")
    for piece in pieces(HALF if model == "cut" else ANSWER):
        await exchange.event({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}})
    if model == "cut":
        return await exchange.hang_up()
    return await _cohere_end(exchange, "COMPLETE")


async def _cohere_end(exchange: Exchange, reason: str) -> None:
    usage = {
        "billed_units": {"input_tokens": 1},
        "tokens": {"input_tokens": 10, "output_tokens": 7},
        "cached_tokens": 3,
    }
    await exchange.event({"type": "message-end", "delta": {"finish_reason": reason, "usage": usage}})
    await exchange.end_stream()


# --- Bedrock


def frame(payload: bytes, **headers: str) -> bytes:
    """A message of AWS' event stream."""
    packed = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return head + struct.pack(">I", zlib.crc32(head))


async def _emit(exchange: Exchange, event: str, body: dict[str, Any]) -> None:
    headers = {":event-type": event, ":message-type": "event", ":content-type": "application/json"}
    data = frame(json.dumps(body).encode(), **headers)
    # In two parts: a message may come in any pieces.
    await exchange.part(data[:9])
    await exchange.part(data[9:])


async def bedrock(exchange: Exchange) -> None:
    call = exchange.call
    if call.path == "/foundation-models":
        rows = [
            {"modelId": "anthropic.claude-test-v1:0", "modelName": "Claude", "outputModalities": ["TEXT"]},
            {"modelId": "amazon.titan-embed-text-v2:0", "outputModalities": ["EMBEDDING"]},
        ]
        return await exchange.json(200, {"modelSummaries": rows})
    found = re.match(r"/model/([^/]+)/(invoke|converse-stream)$", call.path)
    assert found is not None, call.path
    model, verb = found[1], found[2]
    if model == "echo-key":
        return await echo_key(exchange)
    if verb == "invoke":
        return await _bedrock_invoke(exchange, model)
    return await _bedrock_chat(exchange, model)


async def _bedrock_invoke(exchange: Exchange, model: str) -> None:
    body = exchange.call.body
    if "rerank" in model:
        return await exchange.json(200, {"results": ranked(body, "documents", "top_n")})
    if "cohere" in model:
        return await exchange.json(200, {"embeddings": [embed_text(text, DIMENSIONS) for text in body["texts"]]})
    return await exchange.json(200, {"embedding": embed_text(body["inputText"], DIMENSIONS), "inputTextTokenCount": 2})


async def _bedrock_chat(exchange: Exchange, model: str) -> None:
    exchange.begin_stream(chunked="cut" not in model, kind="application/vnd.amazon.eventstream")
    if model == "throttled-first" and exchange.call.number == 1:
        headers = {":message-type": "exception", ":exception-type": "throttlingException"}
        await exchange.part(frame(b'{"message": "Too many requests"}', **headers))
        return await exchange.end_stream()
    await _emit(exchange, "messageStart", {"role": "assistant"})
    answered = any("toolResult" in part for turn in exchange.call.body["messages"] for part in turn["content"])
    if model in ("tools", "thinks", "cut-call", "length-call", "no-input") and not answered:
        return await _bedrock_call(exchange, model)
    for piece in pieces(HALF if model == "cut" else ANSWER):
        await _emit(exchange, "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
    if model == "cut":
        # In the middle of a message.
        await exchange.part(frame(b"{}", **{":event-type": "messageStop"})[:11])
        return await exchange.hang_up()
    return await _bedrock_end(exchange, "end_turn")


async def _bedrock_call(exchange: Exchange, model: str) -> None:
    if model == "thinks":
        for piece in ({"text": "Hm."}, {"signature": "sig"}):
            await _emit(exchange, "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": piece}})
    start = {"toolUse": {"toolUseId": "tooluse_1", "name": "delete"}}
    await _emit(exchange, "contentBlockStart", {"contentBlockIndex": 1, "start": start})
    for piece in pieces({"cut-call": RAW[:14], "no-input": ""}.get(model, RAW)):
        await _emit(exchange, "contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": piece}}})
    if model == "cut-call":
        return await exchange.hang_up()
    await _emit(exchange, "contentBlockStop", {"contentBlockIndex": 1})
    return await _bedrock_end(exchange, "max_tokens" if model == "length-call" else "tool_use")


async def _bedrock_end(exchange: Exchange, reason: str) -> None:
    await _emit(exchange, "messageStop", {"stopReason": reason})
    usage = {"inputTokens": 7, "outputTokens": 7, "cacheReadInputTokens": 3, "totalTokens": 17}
    await _emit(exchange, "metadata", {"usage": usage})
    await exchange.end_stream()


# --- Jina, Voyage, TEI


async def rankers(exchange: Exchange) -> None:
    """All three: their paths and words differ."""
    body = exchange.call.body
    match exchange.call.path:
        case "/info":
            await exchange.json(200, {"model_id": "BAAI/bge-reranker-v2-m3", "model_type": {"reranker": {}}})
        case "/embed":
            await exchange.json(200, [embed_text(text, DIMENSIONS) for text in body["inputs"]])
        case "/embeddings":
            rows = [{"index": n, "embedding": embed_text(text, DIMENSIONS)} for n, text in enumerate(body["input"])]
            await exchange.json(200, {"data": rows[::-1], "usage": {"total_tokens": 4}})
        case "/rerank" if "texts" in body:
            scored = enumerate(overlaps(body["query"], body["texts"]))
            await exchange.json(200, [{"index": index, "score": score} for index, score in scored])
        case "/rerank" if body["model"].startswith("voyage"):
            await exchange.json(200, {"data": ranked(body, "documents", "top_k"), "usage": {"total_tokens": 9}})
        case "/rerank":
            await exchange.json(200, {"results": ranked(body, "documents", "top_n"), "usage": {"total_tokens": 9}})
        case _:
            await exchange.error(404, "no such path")


VENDORS = {"anthropic": anthropic, "google": google, "cohere": cohere, "bedrock": bedrock}


# --- What the browser tests pick from


async def seen_in_a_browser(exchange: Exchange) -> None:
    """A server of OpenAI's protocol that says what its models read and can."""
    if "wrong" in exchange.call.headers.get("authorization", ""):
        return await echo_key(exchange)
    rows = [
        {"id": "big-chat", "context_length": 65536, "capabilities": {"vision": True, "function_calling": False}},
        {"id": "small-embed", "name": "Small embedder", "max_model_len": 512},
    ]
    return await exchange.json(200, {"object": "list", "data": [{"object": "model", **row} for row in rows]})


# --- Ollama

OLLAMA_MODELS: dict[str, dict[str, Any]] = {
    "llama3.2:latest": {"capabilities": ["completion", "tools"], "model_info": {"llama.context_length": 131072}},
    "nomic-embed-text:latest": {"capabilities": ["embedding"], "model_info": {"nomic-bert.context_length": 2048}},
    "old-chat:7b": {},  # of a server that does not say what a model can
}


async def ollama(exchange: Exchange) -> None:
    """Its own protocol's list and descriptions."""
    call = exchange.call
    if call.path == "/api/tags":
        rows = [{"name": name, "model": name, "size": 1} for name in OLLAMA_MODELS]
        return await exchange.json(200, {"models": rows})
    if call.path == "/api/show" and OLLAMA_MODELS.get(call.body["model"]):
        return await exchange.json(200, OLLAMA_MODELS[call.body["model"]])
    return await exchange.json(404, {"error": "not found"})
