"""Cohere's API, version 2: chat, embeddings and rerank."""

import base64
from collections.abc import AsyncIterator
from typing import Any

from llm.providers.collecting import CallCollector
from llm.providers.http import HttpProvider
from llm.providers.listing import able, tokens
from llm.providers.rankers import read_ranking, read_vectors
from plugins.contracts import (
    ChatDelta,
    ChatMessage,
    ChatRequest,
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    Endpoint,
    FinishReason,
    ListedModel,
    MessageRole,
    ProviderFailure,
    RerankRequest,
    RerankResponse,
    TokenUsage,
    ToolMode,
)

BASE_URL = "https://api.cohere.com"
INPUT_TYPES = {EmbeddingPurpose.QUERY: "search_query", EmbeddingPurpose.PASSAGE: "search_document"}
FINISH_REASONS = {
    "COMPLETE": FinishReason.STOP,
    "STOP_SEQUENCE": FinishReason.STOP,
    "TOOL_CALL": FinishReason.TOOL_CALLS,
    "MAX_TOKENS": FinishReason.LENGTH,
    "ERROR": FinishReason.PROVIDER_CUT,
    "TIMEOUT": FinishReason.PROVIDER_CUT,
}
BATCH = 96  # texts of one embedding request


class CohereProvider(HttpProvider):
    """A connection to Cohere, or to a private deployment of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"Authorization": f"Bearer {endpoint.api_key}"}
        super().__init__(endpoint, base_url=BASE_URL, headers=headers)

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        calls, finish, usage = CallCollector(), FinishReason.PROVIDER_CUT, None
        async for event in self.events("/v2/chat", _chat_body(request)):
            try:
                delta, message = event.get("delta") or {}, (event.get("delta") or {}).get("message") or {}
                match event.get("type"):
                    case "content-delta":
                        content = message["content"]
                        yield ChatDelta(text=content.get("text") or "", reasoning=content.get("thinking") or "")
                    case "tool-call-start" | "tool-call-delta":
                        call = message["tool_calls"]
                        function = call.get("function") or {}
                        calls.add(
                            event.get("index", 0),
                            id=call.get("id") or "",
                            name=function.get("name") or "",
                            arguments=function.get("arguments") or "",
                        )
                    case "message-end":
                        finish = FINISH_REASONS.get(delta.get("finish_reason") or "ERROR", FinishReason.STOP)
                        usage = _usage(delta.get("usage"))
            except (KeyError, TypeError, AttributeError):
                raise ProviderFailure("bad_response", "The model provider sent something that is no answer.") from None
        yield ChatDelta(finish_reason=finish, usage=usage, model=request.model, tool_calls=calls.calls())

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        rows: list[Any] = []
        tokens = 0
        for start in range(0, len(request.texts), BATCH):
            body: dict[str, Any] = {
                "model": request.model,
                "texts": list(request.texts[start : start + BATCH]),
                "input_type": INPUT_TYPES[request.purpose],
                "embedding_types": ["float"],
                "truncate": "END",
            }
            if request.dimensions is not None:
                body["output_dimension"] = request.dimensions
            answer = await self.post("/v2/embed", body)
            try:
                rows.extend(answer["embeddings"]["float"])
                tokens += int((answer.get("meta") or {}).get("billed_units", {}).get("input_tokens") or 0)
            except (KeyError, TypeError, ValueError, AttributeError):
                raise ProviderFailure("bad_response", "The model provider sent something that is no vector.") from None
        return EmbeddingResponse(read_vectors(rows, len(request.texts)), _input(tokens), request.model)

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """Cohere bills searches and not tokens: their number is an estimate."""
        body: dict[str, Any] = {"model": request.model, "query": request.query, "documents": list(request.documents)}
        if request.top_n is not None:
            body["top_n"] = request.top_n
        return read_ranking(await self.post("/v2/rerank", body), request)

    async def list_models(self) -> tuple[ListedModel, ...]:
        answer = await self.get("/v1/models?page_size=1000")
        try:
            return tuple(
                ListedModel(
                    str(one["name"]),
                    _kind(one.get("endpoints") or []),
                    max_input_tokens=tokens(one, "context_length"),
                    capabilities=able(one.get("features"), _FEATURES),
                )
                for one in answer["models"]
            )
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no list.") from None


_FEATURES = {"tools": "tool_calling", "json_mode": "json_mode", "json_schema": "json_schema", "vision": "vision"}


def _kind(endpoints: list[str]) -> str:
    kinds = {"chat": "chat", "embed": "embedding", "rerank": "rerank"}
    return next((kind for endpoint, kind in kinds.items() if endpoint in endpoints), "")


def _input(tokens: int) -> TokenUsage:
    return TokenUsage(input_tokens=tokens) if tokens else TokenUsage(estimated=True)


def _usage(sent: dict[str, Any] | None) -> TokenUsage | None:
    """`tokens` are what the model read and wrote; `billed_units` leave out what Cohere adds itself."""
    tokens = (sent or {}).get("tokens") or {}
    if not tokens:
        return None
    return TokenUsage(
        input_tokens=int(tokens.get("input_tokens") or 0),
        output_tokens=int(tokens.get("output_tokens") or 0),
        cached_input_tokens=int((sent or {}).get("cached_tokens") or 0),
    )


def _chat_body(request: ChatRequest) -> dict[str, Any]:
    """What `POST /v2/chat` takes. A single tool cannot be named: it has to call any of them."""
    output = None
    if request.output is not None:
        schema = {"json_schema": dict(request.output.schema)} if request.output.schema is not None else {}
        output = {"type": "json_object", **schema}
    choice = request.tool_choice
    mode = "NONE" if choice is ToolMode.NONE else None if choice in (None, ToolMode.AUTO) else "REQUIRED"
    tools = [
        {
            "type": "function",
            "function": {"name": one.name, "description": one.description, "parameters": dict(one.parameters)},
        }
        for one in request.tools
    ]
    optional = {
        "temperature": request.temperature,
        "p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop_sequences": list(request.stop) or None,
        "response_format": output,
        "tools": tools or None,
        "tool_choice": mode if tools else None,
    }
    return {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role is MessageRole.TOOL:
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        plan = {"tool_plan": message.content} if message.content else {}
        return {"role": "assistant", "tool_calls": calls, **plan}
    if message.images:
        shown = [
            {
                "type": "image_url",
                "image_url": {"url": f"data:{one.media_type};base64,{base64.b64encode(one.data).decode()}"},
            }
            for one in message.images
        ]
        return {"role": message.role.value, "content": [{"type": "text", "text": message.content}, *shown]}
    return {"role": message.role.value, "content": message.content}
