"""A call of a chat model: what was answered before, else the models of the chain, each in some attempts."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import cast

from llm import response_cache
from llm.adapting import adapted, in_one, is_able
from llm.attempts import Terms, attempt
from llm.fallback import candidates, passes_on
from llm.limits import USUAL_OUTPUT_TOKENS, Need
from llm.models import Model
from llm.recording import Books
from llm.retries import pause
from llm.tokens import counted_usage
from plugins.contracts import ChatDelta, ChatRequest, FinishReason, ProviderFailure


def finished(last: ChatDelta, request: ChatRequest, texts: Sequence[str], books: Books) -> ChatDelta:
    """The last delta with usage and model. Usage that the vendor does not send is counted, and marked."""
    usage = last.usage or counted_usage(request, "".join(texts), last.tool_calls)
    return replace(last, usage=usage, model=last.model or books.last.identifier)


async def answer(model: Model, request: ChatRequest, terms: Terms, books: Books) -> AsyncGenerator[ChatDelta]:
    """What was answered before, else what the first model of the chain says that does not fail at once."""
    kept = None if terms.forced else await response_cache.find(model, request)
    if kept is not None:
        books.cached = True
        for delta in kept.deltas():
            yield delta
        return
    async with aclosing(candidates(model, alone=terms.forced)) as models:
        async for one in models:
            if one is not model and not is_able(one, request):
                continue
            try:
                async with aclosing(_attempts(one, request, terms, books)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except ProviderFailure as caught:
                books.of(one).failed = True
                if not passes_on(caught) or terms.deadline.left <= 0:
                    raise
                failure = caught
    raise failure


async def _attempts(model: Model, request: ChatRequest, terms: Terms, books: Books) -> AsyncGenerator[ChatDelta]:
    """What one model says, in as many attempts as it takes. Raises ProviderFailure only before the first text."""
    hurried = model.fallback_id is not None and not terms.forced
    for attempt_number in count(1):
        spoken = False
        try:
            async with aclosing(_deltas(model, request, terms, books)) as deltas:
                async for delta in deltas:
                    spoken = spoken or bool(delta.text or delta.reasoning)
                    yield delta
            return
        except ProviderFailure as failure:
            books.failed_try(model, failure)
            if not spoken:
                await pause(failure, attempt_number, terms.deadline, hurried=hurried)
        if spoken:
            yield ChatDelta(finish_reason=FinishReason.PROVIDER_CUT)
            return


async def _deltas(model: Model, request: ChatRequest, terms: Terms, books: Books) -> AsyncGenerator[ChatDelta]:
    """One attempt. Each step is timed by itself: a deadline around a `yield` would strike in the caller's code."""
    request = adapted(model, request)
    spent = books.of(model)
    need = Need(counted_usage(request, "").input_tokens, request.max_tokens or USUAL_OUTPUT_TOKENS)
    async with attempt(model, need, terms) as made:
        spent.requests += 1
        stream = cast(AsyncGenerator[ChatDelta], made.provider.stream_chat(request))
        if not request.stream:
            stream = in_one(stream)
        texts, usage = list[str](), None
        try:
            async with aclosing(stream) as deltas:
                while (delta := await terms.deadline.within(anext(deltas, None))) is not None:
                    texts.append(delta.text or delta.reasoning)
                    usage = delta.usage or usage
                    if delta.finish_reason is FinishReason.PROVIDER_CUT:
                        made.failure = ProviderFailure("connection", "The model provider broke off its answer.")
                        if not any(texts):
                            raise made.failure
                    yield delta
        finally:
            # A request that failed before a word costs nothing; one that its caller left may have been read.
            if any(texts) or not isinstance(sys.exception(), ProviderFailure):
                took = usage or counted_usage(request, "".join(texts))
                made.tokens = took.input_tokens + took.output_tokens
