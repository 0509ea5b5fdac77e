"""The only door to any model: deadlines, retries, fallbacks, batches, checks, usage and spans stand behind it, once.

Rows come in loaded, with their provider. Behind the door: `chat_calls` and `single_calls` (which model is asked, how
often), `attempts` (one try, with `breaker` and `limits`), `retries`, `fallback`, `response_cache`, `recording`. A call
that works reads nothing from the database, unless a budget holds it (`budgeting`).
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from core.exceptions import Conflict
from core.loop import run_in_loop
from llm import response_cache
from llm.adapting import require_able
from llm.attempts import Terms
from llm.batches import SENT_TOKENS, batches
from llm.budgeting import hold_for_chat, hold_for_texts
from llm.chat_calls import answer, finished
from llm.choices import ModelKind
from llm.limits import LONGEST_WAIT_SECONDS
from llm.models import Model
from llm.ranking import checked_scores
from llm.recording import Books, broken_calls, explained
from llm.retries import Deadline
from llm.single_calls import Asking, EmbeddingCall, reranked, together
from llm.telemetry import answer_attributes, chat_attributes, request_attributes
from llm.tokens import count_tokens, counted_usage
from llm.tool_calls import CallsBroken, checked
from llm.vectors import assemble
from observability.choices import Operation
from observability.tracing import span
from plugins.contracts import (
    ChatDelta,
    ChatRequest,
    EmbeddingPurpose,
    FinishReason,
    ProviderFailure,
    RerankScore,
    TokenUsage,
    Vectors,
)

DEADLINE_SECONDS = 300.0

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
    model: Model, request: ChatRequest, *, deadline: float = DEADLINE_SECONDS, alone: bool = False
) -> AsyncGenerator[ChatDelta]:
    """Stream an answer. The last delta, and no other, has the finish reason, the usage and the model that replied.

    Failures that may pass are retried before the first text, then the model's fallback is asked. After it nothing is
    said twice: whatever breaks off then ends in `provider_cut`, with the text kept. deadline: seconds for the whole.
    alone: this model and no other is asked, and really asked: to try it.
    What the model cannot do is asked for in another way, or refused with Conflict (`llm.adapting`).
    Tool calls come in the last delta, whole and checked; those that are not whole are never handed out.
    Raises ToolCallsBroken, UpstreamError or ServiceUnavailable, in our words, ModelLimitReached, and PayloadTooLarge;
    before anything is sent, BudgetExceeded and BudgetUncountable.
    """
    require_usable(model, ModelKind.CHAT)
    require_able(model, request)
    held = await hold_for_chat(model, request, deadline)
    request = held.within(request)
    terms, books = Terms(Deadline(deadline), forced=alone), Books(model, Operation.CHAT, alone)
    texts = list[str]()
    with span(f"chat {model.identifier}", Operation.CHAT, **chat_attributes(model, request)) as record:
        last, failed = ChatDelta(finish_reason=FinishReason.PROVIDER_CUT), False
        try:
            async with aclosing(answer(model, request, terms, books)) as deltas:
                async for delta in deltas:
                    record.first_chunk()
                    if delta.finish_reason is None:
                        texts.append(delta.text)
                        yield delta
                    else:
                        last = delta
            last = finished(last, request, texts, books)
            last = checked(last)
            await response_cache.keep(books, request, texts, last)
            yield last
        except CallsBroken as broken:
            books.fail()
            raise broken_calls(broken, books.last, last, "".join(texts)) from None
        except ProviderFailure as failure:
            failed = True
            record.failed_with(failure.kind)
            books.fail()
            raise explained(failure, books) from None
        finally:
            usage = last.usage or (TokenUsage() if failed else counted_usage(request, "".join(texts)))
            books.of(books.last).add(usage, last.model)
            record.set(**answer_attributes("".join(texts), last.finish_reason))
            books.close(record)
            await held.settle(record)


async def embed(
    model: Model,
    texts: Sequence[str],
    *,
    purpose: EmbeddingPurpose,
    deadline: float = DEADLINE_SECONDS,
    alone: bool = False,
) -> Vectors:
    """Vectors of the texts in their order, shape (n, dimensions), float32, rows of unit length.

    Batches keep to the vendors' limits, several are in flight, and one that is refused is split in half. A vector of
    the wrong size, with NaN or of length zero is refused. deadline: seconds for the whole. alone: as for `stream_chat`.
    Raises UpstreamError or ServiceUnavailable, in our words, ModelLimitReached, and PayloadTooLarge;
    before anything is sent, BudgetExceeded and BudgetUncountable.
    """
    require_usable(model, ModelKind.EMBEDDING)
    # Nobody waits in front of a passage: those take their turn as long as there is time.
    patience = deadline if purpose is EmbeddingPurpose.PASSAGE else LONGEST_WAIT_SECONDS
    terms, books = Terms(Deadline(deadline), patience, forced=alone), Books(model, Operation.EMBEDDINGS, alone)
    call = EmbeddingCall(model, purpose, Asking(terms, books))
    held = await hold_for_texts(model, texts, deadline)
    most = min(SENT_TOKENS, model.tokens_per_minute or SENT_TOKENS)
    with span(f"embeddings {model.identifier}", Operation.EMBEDDINGS, **request_attributes(model)) as record:
        record.set(**{"magnet.inputs": len(texts), "gen_ai.embeddings.dimension.count": model.dimensions})
        try:
            answers = await together([call.batch(part) for part in batches(texts, model.max_input_tokens, most)])
            return assemble([one for part in answers for one in part], model)
        except ProviderFailure as failure:
            record.failed_with(failure.kind)
            books.fail()
            raise explained(failure, books) from None
        finally:
            books.close(record)
            await held.settle(record)


def embed_sync(model: Model, texts: Sequence[str], *, purpose: EmbeddingPurpose) -> Vectors:
    """The same for workers and commands."""
    return run_in_loop(embed(model, texts, purpose=purpose))


async def rerank(
    model: Model,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None = None,
    deadline: float = DEADLINE_SECONDS,
    alone: bool = False,
) -> tuple[RerankScore, ...]:
    """The documents' scores for the query, best first; top_n: how many are wanted. deadline: seconds for the whole.

    alone: as for `stream_chat`. Raises what `embed` raises; a score for a document that was not sent is refused.
    """
    require_usable(model, ModelKind.RERANK)
    if not documents:
        return ()
    held = await hold_for_texts(model, [query, *documents], deadline)
    terms, books = Terms(Deadline(deadline), forced=alone), Books(model, Operation.RERANK, alone)
    with span(f"rerank {model.identifier}", Operation.RERANK, **request_attributes(model)) as record:
        record.set(**{"magnet.inputs": len(documents)})
        try:
            ranked = await reranked(model, query, documents, top_n, Asking(terms, books))
            return checked_scores(ranked, len(documents))
        except ProviderFailure as failure:
            record.failed_with(failure.kind)
            books.fail()
            raise explained(failure, books) from None
        finally:
            books.close(record)
            await held.settle(record)
