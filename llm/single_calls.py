"""Calls with one answer, embeddings and ranking: each request goes to the models of the chain in turn."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from llm.attempts import Terms, attempt
from llm.batches import Batch
from llm.choices import ProviderType
from llm.fallback import candidates, passes_on
from llm.limits import Need
from llm.models import Model
from llm.ranking import rerank_request, rerank_usage
from llm.recording import Books
from llm.retries import pause
from llm.tokens import estimate_tokens
from plugins.contracts import (
    EmbeddingPurpose,
    EmbeddingRequest,
    EmbeddingResponse,
    Provider,
    ProviderFailure,
    RerankResponse,
    TokenUsage,
)

CONCURRENT_REQUESTS = 4

T = TypeVar("T")

Ask = Callable[[Provider, Model], Awaitable[T]]
Count = Callable[[T], TokenUsage]


@dataclass(frozen=True)
class Asking:
    """Requests on the same terms, entered in the same books."""

    terms: Terms
    books: Books

    async def first_answer(self, model: Model, need: Need, ask: "Ask[T]", usage: "Count[T]") -> T:
        """The answer of the first model of the chain that does not fail. ask: sends the request to one of them."""
        async with aclosing(candidates(model, alone=self.terms.forced)) as models:
            async for one in models:
                try:
                    return await self._attempts(one, need, ask, usage)
                except ProviderFailure as caught:
                    self.books.of(one).failed = True
                    if not passes_on(caught) or self.terms.deadline.left <= 0:
                        raise
                    failure = caught
        raise failure

    async def _attempts(self, model: Model, need: Need, ask: "Ask[T]", usage: "Count[T]") -> T:
        hurried = model.fallback_id is not None and not self.terms.forced
        spent = self.books.of(model)
        for attempt_number in count(1):
            try:
                async with attempt(model, need, self.terms) as made:
                    spent.requests += 1
                    answer = await self.terms.deadline.within(ask(made.provider, model))
                    took = usage(answer)
                    made.tokens = took.input_tokens + took.output_tokens
            except ProviderFailure as failure:
                self.books.failed_try(model, failure)
                await pause(failure, attempt_number, self.terms.deadline, hurried=hurried)
            else:
                spent.failed = False
                spent.add(took, getattr(answer, "model", ""))
                self.books.last = model
                return answer
        raise AssertionError("The attempts are counted without end.")


async def together(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order; the first failure cancels the rest."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class EmbeddingCall:
    """The requests of one call of `embed`. All models of a chain of embedding models share one vector space."""

    def __init__(self, model: Model, purpose: EmbeddingPurpose, asking: Asking) -> None:
        self.model = model
        self.purpose = purpose
        self.asking = asking
        # The local model uses all cores for one batch.
        self.limit = asyncio.Semaphore(1 if model.provider.type == ProviderType.LOCAL else CONCURRENT_REQUESTS)

    async def batch(self, batch: Batch) -> list[tuple[Batch, EmbeddingResponse]]:
        """The answer, or those of its halves where the vendor refuses the whole."""
        try:
            async with self.limit:
                return [(batch, await self._answer(batch.texts))]
        except ProviderFailure as failure:
            if failure.kind != "bad_request" or len(batch.texts) == 1:
                raise
        # One half after the other: a fault of the model, and not of the size, ends at the first single text.
        return [one for half in batch.halves() for one in await self.batch(half)]

    async def _answer(self, texts: tuple[str, ...]) -> EmbeddingResponse:
        estimate = TokenUsage(input_tokens=sum(map(estimate_tokens, texts)), estimated=True)

        def ask(provider: Provider, model: Model) -> Awaitable[EmbeddingResponse]:
            dimensions = model.dimensions if model.shortens else None
            return provider.embed(EmbeddingRequest(model.identifier, texts, self.purpose, dimensions))

        def usage(answer: EmbeddingResponse) -> TokenUsage:
            return estimate if answer.usage.estimated else answer.usage

        return await self.asking.first_answer(self.model, Need(estimate.input_tokens), ask, usage)


async def reranked(
    model: Model, query: str, documents: Sequence[str], top_n: int | None, asking: Asking
) -> RerankResponse:
    """One request, which holds all documents."""
    request = rerank_request(model, query, documents, top_n)
    read = rerank_usage(request, RerankResponse((), TokenUsage(estimated=True)))
    return await asking.first_answer(
        model,
        Need(read.input_tokens),
        lambda provider, one: provider.rerank(rerank_request(one, query, documents, top_n)),
        lambda answer: rerank_usage(request, answer),
    )
