"""OpenAI's protocol, through the official client, on our checked transport.

Retries are `llm.client`'s. The client's messages repeat what the vendor sends, the key among it, so none is passed on.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from django.conf import settings

from core.exceptions import MagnetError
from core.outbound import OutboundUse, async_client
from llm.providers.collecting import CallCollector
from llm.providers.openai.requests import chat_arguments
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    Provider,
    ProviderFailure,
    TokenUsage,
)

CONNECT_SECONDS = 5.0
FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAIProvider(Provider):
    """A connection to one endpoint. Use it on one event loop, and close it."""

    def __init__(self, *, base_url: str, api_key: str, timeout_seconds: float) -> None:
        import httpx2
        import openai

        timeout = httpx2.Timeout(timeout_seconds, connect=CONNECT_SECONDS)
        # What is left out here the SDK takes from the process's environment, whichever workspace's provider this is.
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url or settings.OPENAI_BASE_URL or None,
            http_client=async_client(OutboundUse.PROVIDER, timeout=timeout),
            timeout=timeout,
            max_retries=0,
        )
        self._client.organization = self._client.project = None

    async def close(self) -> None:
        await self._client.close()

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Deltas as they come. A stream that ends without a finish reason was cut, and says so in its last delta."""
        with _failures():
            stream = await self._client.chat.completions.create(**chat_arguments(request))
            await _require_events(stream)
        finish, usage, model, calls = FinishReason.PROVIDER_CUT, None, "", CallCollector()
        try:
            async for chunk in _guarded(stream):
                model = getattr(chunk, "model", None) or model
                usage = _usage(getattr(chunk, "usage", None)) or usage
                for choice in [c for c in getattr(chunk, "choices", None) or [] if c.index == 0]:
                    if choice.finish_reason:
                        finish = FINISH_REASONS.get(choice.finish_reason, FinishReason.STOP)
                    if choice.delta is not None:
                        _collect(calls, choice.delta)
                        if choice.delta.content:
                            yield ChatDelta(text=choice.delta.content)
        finally:
            await stream.close()
        yield ChatDelta(finish_reason=finish, usage=usage, model=model or request.model, tool_calls=calls.calls())

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """One request. The caller keeps to the vendor's limits on inputs and tokens."""
        arguments: dict[str, Any] = {"model": request.model, "input": list(request.texts)}
        if request.dimensions is not None:
            arguments["dimensions"] = request.dimensions
        with _failures():
            answer = await self._client.embeddings.create(**arguments)
            rows = [row.embedding for row in sorted(answer.data, key=lambda row: row.index)]
            vectors = np.asarray(rows, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(request.texts):
            raise ProviderFailure("bad_response", f"The model sent {len(rows)} vectors for {len(request.texts)} texts.")
        usage = answer.usage
        spent = TokenUsage(input_tokens=usage.prompt_tokens) if usage else TokenUsage(estimated=True)
        return EmbeddingResponse(vectors, spent, answer.model or request.model)


def _collect(calls: CallCollector, delta: Any) -> None:
    for piece in getattr(delta, "tool_calls", None) or []:
        function = piece.function
        calls.add(
            piece.index,
            id=piece.id or "",
            name=(function and function.name) or "",
            arguments=(function and function.arguments) or "",
        )


async def _require_events(stream: Any) -> None:
    """A page or a plain JSON answer would read as a stream without events."""
    kind = stream.response.headers.get("content-type", "")
    if kind.startswith(("text/html", "text/plain", "application/json")):
        await stream.close()
        raise ProviderFailure("bad_response", "The model provider did not stream. Check its base URL.")


async def _guarded(stream: Any) -> AsyncIterator[Any]:
    """The chunks of a stream, with the client's errors translated. A body that breaks off ends the stream."""
    import httpx2
    import openai

    try:
        async for chunk in stream:
            yield chunk
    except (openai.APITimeoutError, httpx2.TimeoutException) as error:
        raise _failure_of(error) from None
    except (openai.APIConnectionError, httpx2.TransportError, UnicodeDecodeError):
        return
    except (openai.APIError, MagnetError, ValueError) as error:
        raise _failure_of(error) from None


def _usage(usage: Any) -> TokenUsage | None:
    if usage is None:
        return None
    cached = getattr(usage.prompt_tokens_details, "cached_tokens", None)
    reasoning = getattr(usage.completion_tokens_details, "reasoning_tokens", None)
    return TokenUsage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.completion_tokens or 0,
        cached_input_tokens=cached or 0,
        reasoning_tokens=reasoning or 0,
    )


@contextmanager
def _failures() -> Iterator[None]:
    """The client's errors as ProviderFailure, without the vendor's words."""
    import httpx2
    import openai

    try:
        yield
    # The client does not check what it parses: an answer of another shape fails somewhere inside it.
    except (openai.OpenAIError, httpx2.TransportError, MagnetError, ValueError, TypeError, AttributeError) as error:
        raise _failure_of(error) from None


def _failure_of(error: Exception) -> ProviderFailure:
    import httpx2
    import openai

    if isinstance(error, MagnetError):
        return ProviderFailure("refused", str(error))
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return ProviderFailure("timeout", "The model provider did not answer in time.")
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        return ProviderFailure("connection", "The model provider cannot be reached.")
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error.status_code, error.response.headers.get("retry-after"))
    return ProviderFailure("bad_response", "The model provider sent something that is no answer.")


def _status_failure(status: int, retry_after: str | None) -> ProviderFailure:
    wait = float(retry_after) if retry_after and retry_after.replace(".", "", 1).isdecimal() else None
    if status in {401, 403}:
        return ProviderFailure("unauthorized", f"The model provider refuses the API key (HTTP {status}).")
    if status == 429:
        return ProviderFailure("rate_limited", "The model provider limits the rate (HTTP 429).", retry_after=wait)
    if status in {502, 503, 504}:
        return ProviderFailure("overloaded", f"The model provider is overloaded (HTTP {status}).", retry_after=wait)
    if status >= 500:
        return ProviderFailure("server", f"The model provider failed (HTTP {status}).")
    return ProviderFailure("bad_request", f"The model provider refuses the request (HTTP {status}).")
