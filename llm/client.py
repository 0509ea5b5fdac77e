"""The only door to any model: deadlines, retries, batches, checks, usage and spans stand behind it, once.

Rows come in loaded, with their provider; nothing here touches the database.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar, cast

from core.exceptions import Conflict
from core.loop import run_in_loop
from llm.batches import Batch, batches
from llm.choices import ModelKind, ProviderType
from llm.models import Model
from llm.providers.connections import connection
from llm.ranking import checked_scores, rerank_request, rerank_usage
from llm.recording import Spent, broken_calls, explained, request_attributes
from llm.retries import Deadline, pause
from llm.tokens import count_tokens, counted_usage, estimate_tokens
from llm.tool_calls import CallsBroken, checked
from llm.vectors import assemble
from observability.choices import Operation
from observability.tracing import span
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    ProviderFailure,
    RerankRequest,
    RerankResponse,
    RerankScore,
    TokenUsage,
    Vectors,
)

DEADLINE_SECONDS = 300.0
CONCURRENT_REQUESTS = 4

T = TypeVar("T")

__all__ = ["count_tokens", "embed", "embed_sync", "rerank", "stream_chat"]


def require_usable(model: Model, kind: ModelKind) -> None:
    """Raise Conflict, naming what is switched off or of another kind."""
    if model.kind != kind:
        raise Conflict(f"The model '{model.slug}' is of the kind '{model.kind}'; this needs '{kind.value}'.")
    if not model.is_active:
        raise Conflict(f"The model '{model.slug}' is switched off.")
    if not model.provider.is_active:
        raise Conflict(f"The provider '{model.provider.slug}' of the model '{model.slug}' is switched off.")


async def stream_chat(
    model: Model, request: ChatRequest, *, deadline: float = DEADLINE_SECONDS
) -> AsyncGenerator[ChatDelta]:
    """Stream an answer. The last delta, and no other, has the finish reason, the usage and the model that replied.

    Failures that may pass are retried before the first text. After it nothing is said twice: whatever breaks off then
    ends in `provider_cut`, with the text kept. deadline: seconds for the whole.
    Tool calls come in the last delta, whole and checked; those that are not whole are never handed out.
    Raises ToolCallsBroken, UpstreamError or ServiceUnavailable, in our words.
    """
    require_usable(model, ModelKind.CHAT)
    request = replace(request, model=model.identifier)
    spent, text = Spent(model, Operation.CHAT), ""
    with span(f"chat {model.slug}", Operation.CHAT, **request_attributes(model)) as record:
        last = ChatDelta(finish_reason=FinishReason.PROVIDER_CUT)
        try:
            async with aclosing(_attempts(model, request, Deadline(deadline), spent)) as deltas:
                async for delta in deltas:
                    text += delta.text
                    if delta.finish_reason is None:
                        yield delta
                    else:
                        last = delta
            usage = last.usage or counted_usage(request, text, last.tool_calls)
            last = replace(last, usage=usage, model=last.model or model.identifier)
            last = checked(last)
            yield last
        except CallsBroken as broken:
            spent.failed = True
            raise broken_calls(broken, model, last, text) from None
        except ProviderFailure as failure:
            spent.failed = True
            raise explained(failure, model) from None
        finally:
            usage = last.usage or (TokenUsage() if spent.failed else counted_usage(request, text))
            spent.add(usage, last.model)
            record.set(**{"gen_ai.response.finish_reasons": [str(last.finish_reason)]})
            spent.record(record)


async def _attempts(model: Model, request: ChatRequest, deadline: Deadline, spent: Spent) -> AsyncGenerator[ChatDelta]:
    while True:
        spent.requests += 1
        spoken = False
        try:
            async with aclosing(_deltas(model, request, deadline)) as deltas:
                async for delta in deltas:
                    spoken = spoken or bool(delta.text)
                    if not spoken and delta.finish_reason is FinishReason.PROVIDER_CUT:
                        raise ProviderFailure("connection", "The model provider broke off before it answered.")
                    yield delta
            return
        except ProviderFailure as failure:
            if not spoken:
                await pause(failure, spent.requests, deadline)
        if spoken:
            yield ChatDelta(finish_reason=FinishReason.PROVIDER_CUT)
            return


async def _deltas(model: Model, request: ChatRequest, deadline: Deadline) -> AsyncGenerator[ChatDelta]:
    """One attempt. Each step is timed by itself: a deadline around a `yield` would strike in the caller's code."""
    async with connection(model) as provider:
        stream = cast(AsyncGenerator[ChatDelta], provider.stream_chat(request))
        async with aclosing(stream) as deltas:
            while (delta := await deadline.within(anext(deltas, None))) is not None:
                yield delta


async def embed(
    model: Model, texts: Sequence[str], *, purpose: EmbeddingPurpose, deadline: float = DEADLINE_SECONDS
) -> Vectors:
    """Vectors of the texts in their order, shape (n, dimensions), float32, rows of unit length.

    Batches keep to the vendors' limits, several are in flight, and one that is refused is split in half. A vector of
    the wrong size, with NaN or of length zero is refused. deadline: seconds for the whole.
    Raises UpstreamError or ServiceUnavailable, in our words.
    """
    require_usable(model, ModelKind.EMBEDDING)
    call = _EmbedCall(model, purpose, Deadline(deadline), Spent(model, Operation.EMBEDDINGS))
    with span(f"embeddings {model.slug}", Operation.EMBEDDINGS, **request_attributes(model)) as record:
        record.set(**{"magnet.inputs": len(texts)})
        try:
            answers = await _together([call.batch(part) for part in batches(texts, model.max_input_tokens)])
            return assemble([one for part in answers for one in part], model)
        except ProviderFailure as failure:
            call.spent.failed = True
            raise explained(failure, model) from None
        finally:
            call.spent.record(record)


def embed_sync(model: Model, texts: Sequence[str], *, purpose: EmbeddingPurpose) -> Vectors:
    """The same for workers and commands."""
    return run_in_loop(embed(model, texts, purpose=purpose))


async def rerank(
    model: Model, query: str, documents: Sequence[str], *, top_n: int | None = None, deadline: float = DEADLINE_SECONDS
) -> tuple[RerankScore, ...]:
    """The documents' scores for the query, best first; top_n: how many are wanted. deadline: seconds for the whole.

    Raises UpstreamError or ServiceUnavailable, in our words; a score for a document that was not sent is refused.
    """
    require_usable(model, ModelKind.RERANK)
    if not documents:
        return ()
    request = rerank_request(model, query, documents, top_n)
    spent, left = Spent(model, Operation.RERANK), Deadline(deadline)
    with span(f"rerank {model.slug}", Operation.RERANK, **request_attributes(model)) as record:
        record.set(**{"magnet.inputs": len(documents)})
        try:
            answer = await _reranked(model, request, left, spent)
            spent.add(rerank_usage(request, answer), answer.model)
            return checked_scores(answer, len(documents))
        except ProviderFailure as failure:
            spent.failed = True
            raise explained(failure, model) from None
        finally:
            spent.record(record)


async def _reranked(model: Model, request: RerankRequest, deadline: Deadline, spent: Spent) -> RerankResponse:
    while True:
        spent.requests += 1
        try:
            async with connection(model) as provider:
                return await deadline.within(provider.rerank(request))
        except ProviderFailure as failure:
            await pause(failure, spent.requests, deadline)


async def _together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order; the first failure cancels the rest."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _EmbedCall:
    """The requests of one call of `embed`."""

    def __init__(self, model: Model, purpose: EmbeddingPurpose, deadline: Deadline, spent: Spent) -> None:
        self.model = model
        self.purpose = purpose
        self.deadline = deadline
        self.spent = spent
        # The local model uses all cores for one batch.
        self.limit = asyncio.Semaphore(1 if model.provider.type == ProviderType.LOCAL else CONCURRENT_REQUESTS)

    async def batch(self, batch: Batch) -> list[tuple[Batch, EmbeddingResponse]]:
        """The answer, or those of its halves where the vendor refuses the whole."""
        try:
            async with self.limit:
                return [(batch, await self._request(batch.texts))]
        except ProviderFailure as failure:
            if failure.kind != "bad_request" or len(batch.texts) == 1:
                raise
        # One half after the other: a fault of the model, and not of the size, ends at the first single text.
        return [one for half in batch.halves() for one in await self.batch(half)]

    async def _request(self, texts: tuple[str, ...]) -> EmbeddingResponse:
        dimensions = self.model.dimensions if self.model.shortens else None
        request = EmbeddingRequest(self.model.identifier, texts, self.purpose, dimensions)
        attempt = 0
        while True:
            attempt += 1
            self.spent.requests += 1
            try:
                async with connection(self.model) as provider:
                    answer = await self.deadline.within(provider.embed(request))
            except ProviderFailure as failure:
                await pause(failure, attempt, self.deadline)
            else:
                counted = TokenUsage(input_tokens=sum(map(estimate_tokens, texts)), estimated=True)
                self.spent.add(counted if answer.usage.estimated else answer.usage, answer.model)
                return answer
