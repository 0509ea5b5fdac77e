"""Amazon Bedrock: the Converse API for chat, InvokeModel for Titan's and Cohere's embeddings and rerankers."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from llm.providers.bedrock.eventstream import Message, messages
from llm.providers.bedrock.requests import converse_body
from llm.providers.bedrock.signing import Signer
from llm.providers.collecting import CallCollector
from llm.providers.http import NO_STREAM, HttpProvider
from llm.providers.rankers import read_ranking, read_vectors
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
    RerankRequest,
    RerankResponse,
    TokenUsage,
)

NO_ANSWER = "The model provider sent something that is no answer."
EVENT_STREAM = "application/vnd.amazon.eventstream"
SESSION_HEADER = "x-amz-security-token"
COHERE_BATCH = 96
FINISH_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    # The guard refuses an answer that announces calls and holds none.
    "malformed_tool_use": FinishReason.TOOL_CALLS,
    "malformed_model_output": FinishReason.PROVIDER_CUT,
}
EXCEPTIONS = {
    "throttlingException": "rate_limited",
    "serviceUnavailableException": "overloaded",
    "modelTimeoutException": "timeout",
    "internalServerException": "server",
    "modelStreamErrorException": "server",
    "validationException": "bad_request",
}


class BedrockProvider(HttpProvider):
    """A connection to Bedrock in one region, signed with an access key, or with an API key of Bedrock as bearer.

    A session's token goes as the extra header X-Amz-Security-Token, and is signed.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
        runtime = f"https://bedrock-runtime.{endpoint.region}.amazonaws.com"
        super().__init__(endpoint, base_url=runtime, headers=headers)
        self._control = endpoint.base_url.rstrip("/") or f"https://bedrock.{endpoint.region}.amazonaws.com"
        self._signer = Signer(endpoint.access_key_id, endpoint.secret, endpoint.region, "bedrock")

    async def headers_for(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        headers = await super().headers_for(method, url, body)
        if self.endpoint.api_key:
            return headers
        session = {name: value for name, value in headers.items() if name.lower() == SESSION_HEADER}
        return {**headers, **self._signer.headers(method, url, body, datetime.now(UTC), also=session)}

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        reading = _Reading(request.model)
        path = f"{self._path(request.model)}/converse-stream"
        async with self._open("POST", path, converse_body(request), accept=EVENT_STREAM) as response:
            if not response.headers.get("content-type", "").startswith(EVENT_STREAM):
                raise ProviderFailure("bad_response", NO_STREAM)
            async for message in messages(self.pieces(response)):
                if message.headers.get(":message-type") in ("exception", "error"):
                    if reading.said:
                        break
                    kind = EXCEPTIONS.get(message.headers.get(":exception-type", ""), "bad_response")
                    raise self.stream_error(message.payload, kind)
                delta = reading.read(message)
                if delta is not None:
                    yield delta
        yield reading.last()

    @staticmethod
    def _path(model: str) -> str:
        return f"/model/{quote(model, safe='')}"

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        call = self._cohere_vectors if "cohere." in request.model else self._titan_vectors
        rows, tokens = await call(request)
        usage = TokenUsage(input_tokens=tokens) if tokens else TokenUsage(estimated=True)
        return EmbeddingResponse(read_vectors(rows, len(request.texts)), usage, request.model)

    async def _titan_vectors(self, request: EmbeddingRequest) -> tuple[list[Any], int]:
        """Titan takes one text a request."""
        rows, tokens = [], 0
        size = {"dimensions": request.dimensions} if request.dimensions is not None else {}
        for text in request.texts:
            answer = await self.post(f"{self._path(request.model)}/invoke", {"inputText": text, **size})
            try:
                rows.append(answer["embedding"])
                tokens += int(answer.get("inputTextTokenCount") or 0)
            except (KeyError, TypeError, ValueError):
                raise ProviderFailure("bad_response", NO_ANSWER) from None
        return rows, tokens

    async def _cohere_vectors(self, request: EmbeddingRequest) -> tuple[list[Any], int]:
        kind = "search_query" if request.purpose is EmbeddingPurpose.QUERY else "search_document"
        rows: list[Any] = []
        for start in range(0, len(request.texts), COHERE_BATCH):
            body: dict[str, Any] = {
                "texts": list(request.texts[start : start + COHERE_BATCH]),
                "input_type": kind,
                "truncate": "END",
            }
            if request.dimensions is not None:
                body["output_dimension"] = request.dimensions
            answer = await self.post(f"{self._path(request.model)}/invoke", body)
            try:
                found = answer["embeddings"]
                rows.extend(found["float"] if isinstance(found, dict) else found)
            except (KeyError, TypeError):
                raise ProviderFailure("bad_response", NO_ANSWER) from None
        return rows, 0

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """Cohere's and Amazon's rerankers, which take the same."""
        body: dict[str, Any] = {"query": request.query, "documents": list(request.documents)}
        if "cohere." in request.model:
            body["api_version"] = 2
        if request.top_n is not None:
            body["top_n"] = request.top_n
        return read_ranking(await self.post(f"{self._path(request.model)}/invoke", body), request)

    async def list_models(self) -> tuple[ListedModel, ...]:
        answer = await self.get(f"{self._control}/foundation-models")
        try:
            rows = answer["modelSummaries"]
            return tuple(
                ListedModel(str(one["modelId"]), _kind(one), str(one.get("modelName", "")), capabilities=_able(one))
                for one in rows
            )
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("bad_response", "The model provider sent something that is no list.") from None


def _kind(row: Mapping[str, Any]) -> str:
    gives = row.get("outputModalities") or []
    if "rerank" in str(row["modelId"]):
        return "rerank"
    return "embedding" if "EMBEDDING" in gives else "chat" if "TEXT" in gives else ""


def _able(row: Mapping[str, Any]) -> dict[str, bool]:
    streams = row.get("responseStreamingSupported")
    known = {"vision": "IMAGE" in (row.get("inputModalities") or [])} if _kind(row) == "chat" else {}
    return {**known, "streaming": streams} if known and isinstance(streams, bool) else known


class _Reading:
    """What has come of an answer. `continuation` is the JSON of its signed thoughts."""

    def __init__(self, model: str) -> None:
        self.said = False
        self._model = model
        self._calls = CallCollector()
        self._empty: set[int] = set()
        self._thoughts: dict[int, dict[str, str]] = {}
        self._finish = FinishReason.PROVIDER_CUT
        self._usage: TokenUsage | None = None

    def read(self, message: Message) -> ChatDelta | None:
        """A delta, where there is something to say. Raises ProviderFailure for an event of another shape."""
        try:
            return self._read(message.headers.get(":event-type", ""), json.loads(message.payload or b"{}"))
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ProviderFailure("bad_response", NO_ANSWER) from None

    def _read(self, event: str, body: dict[str, Any]) -> ChatDelta | None:
        match event:
            case "contentBlockStart" if "toolUse" in body["start"]:
                call = body["start"]["toolUse"]
                self._calls.add(body["contentBlockIndex"], id=call["toolUseId"], name=call["name"])
                self._empty.add(body["contentBlockIndex"])
            case "contentBlockDelta":
                return self._piece(body["contentBlockIndex"], body["delta"])
            case "contentBlockStop" if body["contentBlockIndex"] in self._empty:
                # The block is whole and its input empty: the tool takes no parameters.
                self._calls.add(body["contentBlockIndex"], arguments="{}")
            case "messageStop":
                self._finish = FINISH_REASONS.get(body["stopReason"], FinishReason.STOP)
            case "metadata":
                self._usage = _usage(body["usage"])
        return None

    def _piece(self, index: int, delta: dict[str, Any]) -> ChatDelta | None:
        if "text" in delta:
            self.said = self.said or bool(delta["text"])
            return ChatDelta(text=delta["text"])
        if "toolUse" in delta:
            self._calls.add(index, arguments=delta["toolUse"]["input"])
            if delta["toolUse"]["input"]:
                self._empty.discard(index)
        elif "reasoningContent" in delta:
            piece = delta["reasoningContent"]
            thought = self._thoughts.setdefault(index, {})
            for name in ("text", "signature", "redactedContent"):
                if name in piece:
                    thought[name] = thought.get(name, "") + piece[name]
            return ChatDelta(reasoning=piece["text"]) if piece.get("text") else None
        return None

    def last(self) -> ChatDelta:
        return ChatDelta(
            finish_reason=self._finish,
            usage=self._usage,
            model=self._model,
            tool_calls=self._calls.calls(),
            continuation=json.dumps([_signed(one) for one in self._thoughts.values()]) if self._thoughts else "",
        )


def _signed(thought: dict[str, str]) -> dict[str, Any]:
    if "redactedContent" in thought:
        return {"reasoningContent": {"redactedContent": thought["redactedContent"]}}
    return {"reasoningContent": {"reasoningText": thought}}


def _usage(sent: Mapping[str, Any]) -> TokenUsage:
    """`inputTokens` leaves out what the cache gave or took; here it is all input."""
    read, written = int(sent.get("cacheReadInputTokens") or 0), int(sent.get("cacheWriteInputTokens") or 0)
    return TokenUsage(
        input_tokens=int(sent.get("inputTokens") or 0) + read + written,
        output_tokens=int(sent.get("outputTokens") or 0),
        cached_input_tokens=read,
    )
