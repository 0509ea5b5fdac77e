"""Google's generateContent: the Gemini API with a key, or Vertex AI with a project and a service account."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from llm.providers.collecting import new_call_id
from llm.providers.google.auth import ServiceAccount
from llm.providers.google.requests import content_body
from llm.providers.http import HttpProvider
from llm.providers.listing import tokens
from llm.providers.rankers import read_vectors
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    Endpoint,
    FinishReason,
    ListedModel,
    ProviderFailure,
    TokenUsage,
    ToolCall,
)

GEMINI = "https://generativelanguage.googleapis.com/v1beta"
NO_ANSWER = "The model provider sent something that is no answer."
BATCH = 100  # texts of one embedding request
TASKS = {EmbeddingPurpose.QUERY: "RETRIEVAL_QUERY", EmbeddingPurpose.PASSAGE: "RETRIEVAL_DOCUMENT"}
FINISH_REASONS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    # The guard refuses an answer that announces calls and holds none.
    "MALFORMED_FUNCTION_CALL": FinishReason.TOOL_CALLS,
    "UNEXPECTED_TOOL_CALL": FinishReason.TOOL_CALLS,
    "OTHER": FinishReason.STOP,
}


class GoogleProvider(HttpProvider):
    """A connection to the Gemini API, or with a project to Vertex AI in a region (global where none is named)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._account = ServiceAccount.read(endpoint.secret) if endpoint.secret else None
        self._is_vertex = bool(endpoint.project)
        region = endpoint.region or "global"
        host = "aiplatform.googleapis.com" if region == "global" else f"{region}-aiplatform.googleapis.com"
        vertex = f"https://{host}/v1"
        self._models = (
            f"/projects/{endpoint.project}/locations/{region}/publishers/google/models"
            if self._is_vertex
            else "/models"
        )
        headers = {"x-goog-api-key": endpoint.api_key} if endpoint.api_key else {}
        super().__init__(endpoint, base_url=vertex if self._is_vertex else GEMINI, headers=headers)

    async def headers_for(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        headers = await super().headers_for(method, url, body)
        if self._account is None:
            return headers
        return {**headers, "Authorization": f"Bearer {await self._account.bearer(self._client)}"}

    def _path(self, model: str, verb: str) -> str:
        return f"{self._models}/{quote(model.removeprefix('models/'), safe='')}:{verb}"

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reading = _Reading(request.model)
        path = self._path(request.model, "streamGenerateContent?alt=sse")
        async for event in self.events(path, content_body(request)):
            if "error" in event:
                if reading.said:
                    break
                raise self.stream_error(event)
            for delta in reading.read(event):
                yield delta
        yield reading.last()

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        rows: list[Any] = []
        tokens = 0
        for start in range(0, len(request.texts), BATCH):
            part = request.texts[start : start + BATCH]
            found, count = await (self._predict(request, part) if self._is_vertex else self._embed(request, part))
            rows.extend(found)
            tokens += count
        usage = TokenUsage(input_tokens=tokens) if tokens else TokenUsage(estimated=True)
        return EmbeddingResponse(read_vectors(rows, len(request.texts)), usage, request.model)

    async def _embed(self, request: EmbeddingRequest, texts: tuple[str, ...]) -> tuple[list[Any], int]:
        size = {"outputDimensionality": request.dimensions} if request.dimensions is not None else {}
        name = f"models/{request.model.removeprefix('models/')}"
        asked = [
            {"model": name, "content": {"parts": [{"text": text}]}, "taskType": TASKS[request.purpose], **size}
            for text in texts
        ]
        answer = await self.post(self._path(request.model, "batchEmbedContents"), {"requests": asked})
        try:
            return [one["values"] for one in answer["embeddings"]], 0
        except (KeyError, TypeError):
            raise ProviderFailure("bad_response", NO_ANSWER) from None

    async def _predict(self, request: EmbeddingRequest, texts: tuple[str, ...]) -> tuple[list[Any], int]:
        body: dict[str, Any] = {
            "instances": [{"content": text, "task_type": TASKS[request.purpose]} for text in texts],
        }
        if request.dimensions is not None:
            body["parameters"] = {"outputDimensionality": request.dimensions}
        answer = await self.post(self._path(request.model, "predict"), body)
        try:
            found = [one["embeddings"] for one in answer["predictions"]]
            counts = [int((one.get("statistics") or {}).get("token_count") or 0) for one in found]
            return [one["values"] for one in found], sum(counts)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ProviderFailure("bad_response", NO_ANSWER) from None

    async def list_models(self) -> tuple[ListedModel, ...]:
        if self._is_vertex:
            raise ProviderFailure("unsupported", "Vertex AI does not list Google's models; enter the identifier.")
        answer = await self.get("/models?pageSize=1000")
        try:
            return tuple(
                ListedModel(
                    str(one["name"]).removeprefix("models/"),
                    _kind(one.get("supportedGenerationMethods") or []),
                    str(one.get("displayName", "")),
                    tokens(one, "inputTokenLimit"),
                    {"reasoning": True} if one.get("thinking") is True else {},
                )
                for one in answer["models"]
            )
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no list.") from None


def _kind(methods: list[str]) -> str:
    if "generateContent" in methods:
        return "chat"
    return "embedding" if {"embedContent", "batchEmbedContents"} & set(methods) else ""


class _Reading:
    """What has come of an answer. Signatures of calls want to come back: `continuation` is their JSON, by call."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.said = False
        self._calls: list[ToolCall] = []
        self._signatures: dict[str, str] = {}
        self._finish = FinishReason.PROVIDER_CUT
        self._usage: TokenUsage | None = None

    def read(self, event: dict[str, Any]) -> list[ChatDelta]:
        """Deltas. Raises ProviderFailure for an event of another shape."""
        try:
            return self._read(event)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError):
            raise ProviderFailure("bad_response", NO_ANSWER) from None

    def _read(self, event: dict[str, Any]) -> list[ChatDelta]:
        self.model = event.get("modelVersion") or self.model
        if "usageMetadata" in event:
            self._usage = _usage(event["usageMetadata"])
        if (event.get("promptFeedback") or {}).get("blockReason"):
            self._finish = FinishReason.CONTENT_FILTER
        candidates = event.get("candidates") or []
        if not candidates:
            return []
        deltas = [self._part(part) for part in (candidates[0].get("content") or {}).get("parts") or []]
        reason = candidates[0].get("finishReason")
        if reason:
            self._finish = FINISH_REASONS.get(reason, FinishReason.CONTENT_FILTER)
        return [delta for delta in deltas if delta is not None]

    def _part(self, part: dict[str, Any]) -> ChatDelta | None:
        if "functionCall" in part:
            call = part["functionCall"]
            # A call without parameters has no `args`: an empty message of protobuf is left out.
            made = ToolCall(call.get("id") or new_call_id(), call["name"], json.dumps(call.get("args", {})))
            self._calls.append(made)
            if part.get("thoughtSignature"):
                self._signatures[made.id] = part["thoughtSignature"]
            return None
        text = part.get("text") or ""
        if part.get("thought"):
            return ChatDelta(reasoning=text) if text else None
        self.said = self.said or bool(text)
        return ChatDelta(text=text) if text else None

    def last(self) -> ChatDelta:
        return ChatDelta(
            finish_reason=self._finish,
            usage=self._usage,
            model=self.model,
            tool_calls=tuple(self._calls),
            continuation=json.dumps(self._signatures) if self._signatures else "",
        )


def _usage(sent: dict[str, Any]) -> TokenUsage:
    """Thoughts are output that is billed; Google counts them apart."""
    thoughts = int(sent.get("thoughtsTokenCount") or 0)
    return TokenUsage(
        input_tokens=int(sent.get("promptTokenCount") or 0) + int(sent.get("toolUsePromptTokenCount") or 0),
        output_tokens=int(sent.get("candidatesTokenCount") or 0) + thoughts,
        cached_input_tokens=int(sent.get("cachedContentTokenCount") or 0),
        reasoning_tokens=thoughts,
    )
