"""The only door to any model: deadlines, retries, batches, checks, usage and spans stand here, once.

Rows come in loaded, with their provider; nothing here touches the database.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from core.exceptions import Conflict, ServiceUnavailable, UpstreamError
from llm.batches import Batch, batches
from llm.loop import run_in_loop
from llm.models import Model
from llm.providers.connections import connection
from llm.tokens import count_tokens, estimate_tokens
from observability.choices import Operation, SpanStatus
from observability.tracing import SpanRecord, UsageEntry, record_usage, span
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    ProviderFailure,
    TokenUsage,
    Vectors,
)

RETRYABLE = frozenset({"rate_limited", "overloaded", "timeout", "connection"})
ATTEMPTS = 3
DEADLINE_SECONDS = 300.0
BACKOFF_SECONDS = 0.5
CONCURRENT_REQUESTS = 4

T = TypeVar("T")

__all__ = ["count_tokens", "embed", "embed_sync", "stream_chat"]


def require_active(model: Model) -> None:
    """Raise Conflict, naming what is switched off."""
    if not model.is_active:
        raise Conflict(f"The model '{model.slug}' is switched off.")
    if not model.provider.is_active:
        raise Conflict(f"The provider '{model.provider.slug}' of the model '{model.slug}' is switched off.")


async def stream_chat(model: Model, request: ChatRequest) -> AsyncIterator[ChatDelta]:
    """Stream an answer. Retries what may pass, and only before the first text; the last delta has the finish reason.

    Raises UpstreamError or ServiceUnavailable, in our words.
    """
    require_active(model)
    started = time.perf_counter()
    with span(f"chat {model.slug}", Operation.CHAT, **_attributes(model)) as record:
        last = ChatDelta(finish_reason=FinishReason.PROVIDER_CUT)
        text: list[str] = []
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), aclosing(_with_retries(model, request)) as deltas:
                async for delta in deltas:
                    text.append(delta.text)
                    if delta.finish_reason is None:
                        yield delta
                    else:
                        last = _with_usage(delta, request, "".join(text))
            yield last
        except (ProviderFailure, TimeoutError) as failure:
            raise _translate(failure, model) from None
        finally:
            if last.usage is None:
                last = _with_usage(last, request, "".join(text))
            _note(record, model, Operation.CHAT, last.usage or TokenUsage(), last.model, started)
            record.set(**{"gen_ai.response.finish_reasons": [str(last.finish_reason)]})


async def _with_retries(model: Model, request: ChatRequest) -> AsyncIterator[ChatDelta]:
    attempt, spoken = 1, False
    while True:
        try:
            async with aclosing(connection(model).stream_chat(request)) as deltas:  # type: ignore[type-var]  # every provider streams by an async generator
                async for delta in deltas:
                    spoken = spoken or bool(delta.text)
                    yield delta
            return
        except ProviderFailure as failure:
            if spoken or failure.kind not in RETRYABLE or attempt >= ATTEMPTS:
                raise
            await asyncio.sleep(_pause(attempt, failure.retry_after))
            attempt += 1


def _pause(attempt: int, retry_after: float | None) -> float:
    """Full jitter (Brooker, 2015), or what the vendor asks for, up to a minute."""
    if retry_after is not None:
        return min(retry_after, 60.0)
    return random.uniform(0, BACKOFF_SECONDS * 2**attempt)  # noqa: S311  # not for secrets


async def embed(model: Model, texts: Sequence[str], *, purpose: EmbeddingPurpose) -> Vectors:
    """Vectors of the texts in their order, shape (n, dimensions), float32, rows of unit length.

    Batches keep to the vendor's limits, several are in flight, and one that is refused is split in half. A vector of
    the wrong size, with NaN or of length zero is refused with both numbers. Raises UpstreamError, ServiceUnavailable.
    """
    require_active(model)
    started = time.perf_counter()
    with span(f"embeddings {model.slug}", Operation.EMBEDDINGS, **_attributes(model)) as record:
        limit = asyncio.Semaphore(CONCURRENT_REQUESTS)
        parts = batches(texts, model.max_input_tokens)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answers = await _gather([_embed_batch(model, part, purpose, limit) for part in parts])
        except (ProviderFailure, TimeoutError) as failure:
            raise _translate(failure, model) from None
        vectors = _assembled(parts, answers, len(texts), model)
        spent = TokenUsage(
            input_tokens=sum(answer.usage.input_tokens for answer in answers),
            estimated=any(answer.usage.estimated for answer in answers),
        )
        replied = answers[0].model if answers else model.identifier
        _note(record, model, Operation.EMBEDDINGS, spent, replied, started)
        record.set(**{"magnet.inputs": len(texts)})
    return vectors


def embed_sync(model: Model, texts: Sequence[str], *, purpose: EmbeddingPurpose) -> Vectors:
    """The same for workers and commands."""
    return run_in_loop(embed(model, texts, purpose=purpose))


async def _gather(work: "Sequence[Coroutine[Any, Any, T]]") -> list[T]:
    """Results in order; the first failure cancels the rest."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def _embed_batch(
    model: Model, batch: Batch, purpose: EmbeddingPurpose, limit: asyncio.Semaphore
) -> EmbeddingResponse:
    request = EmbeddingRequest(
        model=model.identifier,
        texts=batch.texts,
        purpose=purpose,
        dimensions=model.dimensions if model.shortens else None,
    )
    try:
        async with limit:
            return await _retried(lambda: connection(model).embed(request))
    except ProviderFailure as failure:
        if failure.kind != "bad_request" or len(batch.texts) == 1:
            raise
    halves = batch.halves()
    first, second = [await _embed_batch(model, half, purpose, limit) for half in halves]
    spent = TokenUsage(
        input_tokens=first.usage.input_tokens + second.usage.input_tokens,
        estimated=first.usage.estimated or second.usage.estimated,
    )
    return replace(first, vectors=np.concatenate([first.vectors, second.vectors]), usage=spent)


async def _retried(call: "Callable[[], Awaitable[T]]") -> T:
    attempt = 1
    while True:
        try:
            return await call()
        except ProviderFailure as failure:
            if failure.kind not in RETRYABLE or attempt >= ATTEMPTS:
                raise
            await asyncio.sleep(_pause(attempt, failure.retry_after))
            attempt += 1


def _assembled(parts: Sequence[Batch], answers: Sequence[EmbeddingResponse], count: int, model: Model) -> Vectors:
    if not answers:
        return np.zeros((0, model.dimensions or 0), dtype=np.float32)
    size = answers[0].vectors.shape[1]
    vectors = np.zeros((count, size), dtype=np.float32)
    for part, answer in zip(parts, answers, strict=True):
        got = answer.vectors.shape[1]
        if got != (model.dimensions or size):
            raise UpstreamError(
                f"The model '{model.slug}' sent vectors of {got} dimensions, {model.dimensions or size} are expected."
            )
        vectors[list(part.positions)] = answer.vectors
    return _unit(vectors, model)


def _unit(vectors: Vectors, model: Model) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1)
    bad = int((~np.isfinite(lengths) | (lengths < 1e-9)).sum())
    if bad:
        raise UpstreamError(
            f"The model '{model.slug}' sent {bad} of {len(vectors)} vectors that are zero or not numbers."
        )
    unit: Vectors = (vectors / lengths[:, None]).astype(np.float32)
    return unit


def _with_usage(delta: ChatDelta, request: ChatRequest, text: str) -> ChatDelta:
    """A vendor that sends no usage is counted by us, and the figures are marked."""
    if delta.usage is not None:
        return delta
    given = sum(estimate_tokens(message.content) for message in request.messages)
    return replace(delta, usage=TokenUsage(input_tokens=given, output_tokens=estimate_tokens(text), estimated=True))


def _attributes(model: Model) -> dict[str, object]:
    return {"gen_ai.provider.name": model.provider.slug, "gen_ai.request.model": model.identifier}


def _note(  # the parts of one usage record
    record: SpanRecord, model: Model, operation: Operation, usage: TokenUsage, replied: str, started: float
) -> None:
    replied = replied or model.identifier
    record.set(
        **{
            "gen_ai.response.model": replied,
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
        }
    )
    record_usage(
        UsageEntry(
            operation=operation,
            provider_type=model.provider.type,
            provider_slug=model.provider.slug,
            model_slug=model.slug,
            model_identifier=replied,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            estimated=usage.estimated,
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
            status=SpanStatus.OK,
        )
    )


def _translate(failure: ProviderFailure | TimeoutError, model: Model) -> UpstreamError | ServiceUnavailable:
    if isinstance(failure, TimeoutError):
        return ServiceUnavailable(f"The model '{model.slug}' took longer than {DEADLINE_SECONDS:.0f} s in all.")
    hint = f"Model '{model.slug}' of provider '{model.provider.slug}'."
    if failure.kind in RETRYABLE or failure.kind == "server":
        wait = None if failure.retry_after is None else max(1, round(failure.retry_after))
        return ServiceUnavailable(failure.message, hint=hint, retry_after=wait)
    return UpstreamError(failure.message, hint=hint)
