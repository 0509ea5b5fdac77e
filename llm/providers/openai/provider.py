"""OpenAI's protocol, through the official client, on our checked transport.

Retries are `llm.client`'s. The client's messages repeat what the vendor sends, the key among it, so none is passed on.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from core.exceptions import MagnetError
from core.outbound import OutboundUse, async_client
from llm.providers.collecting import CallCollector
from llm.providers.failures import scrubbed, status_failure, vendor_text
from llm.providers.listing import described
from llm.providers.openai.requests import chat_arguments
from llm.providers.presets import Quirks
from llm.providers.rankers import read_ranking
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    Endpoint,
    FinishReason,
    ListedModel,
    Provider,
    ProviderFailure,
    RerankRequest,
    RerankResponse,
    TokenUsage,
)

CONNECT_SECONDS = 5.0
MAX_LISTED = 2000
FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,  # Together's
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,  # Mistral's
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAIProvider(Provider):
    """A connection to one endpoint. Use it on one event loop, and close it."""

    def __init__(self, endpoint: Endpoint, quirks: Quirks) -> None:
        import httpx2

        self._endpoint = endpoint
        self._quirks = quirks
        timeout = httpx2.Timeout(endpoint.timeout_seconds, connect=CONNECT_SECONDS)
        try:
            self._client = self._connect(
                api_key=endpoint.api_key or "none",
                http_client=async_client(OutboundUse.PROVIDER, timeout=timeout),
                timeout=timeout,
                max_retries=0,
                default_headers=dict(endpoint.headers),
            )
        except httpx2.InvalidURL:  # the SDK parses the address when it is made
            raise ProviderFailure("refused", "The provider's base URL is no address that can be called.") from None
        # What is left out here the SDK takes from the process's environment, whichever workspace's provider this is.
        self._client.organization = self._client.project = None

    def _connect(self, **arguments: Any) -> Any:
        import openai

        return openai.AsyncOpenAI(base_url=self._endpoint.base_url or None, **arguments)

    async def close(self) -> None:
        await self._client.close()

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Deltas as they come. A stream that ends without a finish reason was cut, and says so in its last delta."""
        arguments = chat_arguments(request, self._quirks)
        if not request.stream:
            for delta in await self._whole_chat(arguments, request):
                yield delta
            return
        with self._failures():
            stream = await self._chat(arguments)
            await _require_events(stream)
        finish, usage, model, calls = FinishReason.PROVIDER_CUT, None, "", CallCollector()
        try:
            async for chunk in self._guarded(stream):
                model = str(chunk.get("model") or model)
                usage = _usage(chunk.get("usage")) or usage
                for choice in _objects(chunk.get("choices")):
                    if choice.get("index", 0) != 0:
                        continue
                    if choice.get("finish_reason"):
                        finish = FINISH_REASONS.get(str(choice["finish_reason"]), FinishReason.STOP)
                    piece = _object(choice.get("delta"))
                    _collect(calls, piece)
                    if (said := _said(piece)) is not None:
                        yield said
        finally:
            await stream.close()
        yield ChatDelta(finish_reason=finish, usage=usage, model=model or request.model, tool_calls=calls.calls())

    async def _chat(self, arguments: dict[str, Any]) -> Any:
        """The answer as plain JSON, or a stream of it: a model class for each piece would cost more than the rest."""
        import openai

        stream: bool = arguments["stream"]
        body = {**arguments, **arguments.get("extra_body", {})}
        body.pop("extra_body", None)
        return await self._client.post(
            "/chat/completions", body=body, cast_to=object, stream=stream, stream_cls=openai.AsyncStream[object]
        )

    async def _whole_chat(self, arguments: dict[str, Any], request: ChatRequest) -> list[ChatDelta]:
        """The answer of a server that cannot stream."""
        with self._failures():
            answer = await self._chat(arguments)
            choice = answer["choices"][0]
            calls = CallCollector()
            _collect(calls, choice["message"])
            said = _said(choice["message"])
            finish = FINISH_REASONS.get(choice.get("finish_reason"), FinishReason.STOP)
            last = ChatDelta(
                finish_reason=finish if choice.get("finish_reason") else FinishReason.PROVIDER_CUT,
                usage=_usage(answer.get("usage")),
                model=answer.get("model") or request.model,
                tool_calls=calls.calls(),
            )
        return [last] if said is None else [said, last]

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One request. The caller keeps to the vendor's limits on inputs and tokens."""
        arguments: dict[str, Any] = {"model": request.model, "input": list(request.texts)}
        if request.dimensions is not None:
            arguments["dimensions"] = request.dimensions
        with self._failures():
            answer = await self._client.embeddings.create(**arguments)
            rows = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
            vectors = np.asarray(rows, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(request.texts):
            raise ProviderFailure("bad_response", f"The model sent {len(rows)} vectors for {len(request.texts)} texts.")
        usage = answer.usage
        spent = TokenUsage(input_tokens=usage.prompt_tokens) if usage else TokenUsage(estimated=True)
        return EmbeddingResponse(vectors, spent, answer.model or request.model)

    async def rerank(self, request: RerankRequest) -> RerankResponse:
        """In the shape of Cohere and Jina, which vLLM, LiteLLM and Together have taken over."""
        if not self._quirks.rerank_path:
            raise ProviderFailure("unsupported", "This type of provider has no rerank models.")
        body: dict[str, Any] = {"model": request.model, "query": request.query, "documents": list(request.documents)}
        if request.top_n is not None:
            body["top_n"] = request.top_n
        with self._failures():
            answer = await self._client.post(f"/{self._quirks.rerank_path}", body=body, cast_to=object)
        return read_ranking(answer, request)

    async def list_models(self) -> tuple[ListedModel, ...]:
        if not self._quirks.lists:
            return await super().list_models()
        with self._failures():
            answer = await self._client.get("/models", cast_to=object)
            rows = answer if isinstance(answer, list) else answer["data"]  # Together sends the list alone
            if not isinstance(rows, list | None):
                raise TypeError("The list of models is none.")
            return tuple(described(str(one["id"]), one) for one in (rows or [])[:MAX_LISTED])

    @contextmanager
    def _failures(self) -> Iterator[None]:
        import httpx2
        import openai

        try:
            yield
        # The client does not check what it parses: an answer of another shape fails somewhere inside it.
        except (
            openai.OpenAIError, httpx2.TransportError, MagnetError, ValueError, TypeError, AttributeError, LookupError
        ) as error:  # fmt: skip
            raise self._failure_of(error) from None

    async def _guarded(self, stream: Any) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a stream, with the client's errors translated. A body that breaks off ends the stream."""
        import httpx2
        import openai

        try:
            async for chunk in stream:
                if isinstance(chunk, dict):
                    yield chunk
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise self._failure_of(error) from None
        except (openai.APIConnectionError, httpx2.TransportError, UnicodeDecodeError):
            return
        except (openai.APIError, MagnetError, ValueError) as error:
            raise self._failure_of(error) from None

    def _failure_of(self, error: Exception) -> ProviderFailure:
        import httpx2
        import openai

        if isinstance(error, MagnetError):
            return ProviderFailure("refused", str(error))
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            return ProviderFailure("timeout", "The model provider did not answer in time.")
        if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
            return ProviderFailure("connection", "The model provider cannot be reached.")
        secrets = self._endpoint.secrets
        if isinstance(error, openai.APIStatusError):
            wait = error.response.headers.get("retry-after")
            # The client unwraps `error`, and gives the text of what is no JSON.
            return status_failure(error.status_code, error.body, secrets=secrets, retry_after=wait)
        said = scrubbed(vendor_text(error.body), secrets) if isinstance(error, openai.APIError) else ""
        message = "The model provider sent something that is no answer."
        return ProviderFailure("bad_response", message, vendor_message=said)


def _object(value: Any) -> dict[str, Any]:
    """An object of JSON; nothing where a server sends something else."""
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _said(delta: dict[str, Any]) -> ChatDelta | None:
    """The text and the thoughts of a piece. Content is a text, or Mistral's list of parts; thoughts have no field in
    OpenAI's protocol, so servers have found two."""
    content = delta.get("content")
    thoughts = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        content = "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    text = content if isinstance(content, str) else ""
    reasoning = thoughts if isinstance(thoughts, str) else ""
    return ChatDelta(text=text, reasoning=reasoning) if text or reasoning else None


def _collect(calls: CallCollector, delta: dict[str, Any]) -> None:
    for number, piece in enumerate(_objects(delta.get("tool_calls"))):
        function = _object(piece.get("function"))
        arguments = function.get("arguments") or ""
        calls.add(
            piece.get("index", number),
            id=piece.get("id") or "",
            name=function.get("name") or "",
            # Servers that send an object instead of its text have sent it whole.
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )


async def _require_events(stream: Any) -> None:
    """A page or a plain JSON answer would read as a stream without events."""
    kind = stream.response.headers.get("content-type", "")
    if kind.startswith(("text/html", "text/plain", "application/json")):
        await stream.close()
        raise ProviderFailure("bad_response", "The model provider did not stream. Check its base URL.")


def _usage(usage: Any) -> TokenUsage | None:
    if not isinstance(usage, dict):
        return None
    return TokenUsage(
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
        cached_input_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_count(_object(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
