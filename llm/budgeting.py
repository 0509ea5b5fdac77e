"""Calls of models within budgets: what a call may take is reserved before it, and counted after it.

Outside of a trace, and where no budget applies, nothing is asked of the database.
"""

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import DatabaseError
from django.utils import timezone

from core.database import in_database
from llm.choices import ProviderType
from llm.limits import USUAL_OUTPUT_TOKENS
from llm.models import Model
from llm.pricing import PER_TOKENS, PriceList
from llm.tokens import counted_usage, estimate_tokens
from observability.budgets.holding import Ask, Hold, Rates, reserve, settle
from observability.tracing import SpanRecord, TraceRecorder, current_recorder
from plugins.contracts import ChatRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """What a call has reserved, and whose it is. Nothing, where no budget applies."""

    recorder: TraceRecorder | None = None
    hold: Hold | None = None

    def within(self, request: ChatRequest) -> ChatRequest:
        """The request, with an answer no longer than the budgets have room for."""
        wanted = request.max_tokens or USUAL_OUTPUT_TOKENS
        if self.hold is None or self.hold.output_tokens >= wanted:
            return request
        return replace(request, max_tokens=self.hold.output_tokens)

    async def settle(self, span: SpanRecord) -> None:
        """Count what the calls of this span took. Goes on when the caller is cancelled meanwhile."""
        if self.recorder is not None and self.hold is not None:
            await asyncio.shield(in_database(_settle, self.recorder, self.hold, span.id))


async def hold_for_chat(model: Model, request: ChatRequest, seconds: float) -> Held:
    """Reserve input and the longest answer. Raises BudgetExceeded, or BudgetUncountable for a model without a price."""
    given = counted_usage(request, "").input_tokens
    return await _hold(model, given, request.max_tokens or USUAL_OUTPUT_TOKENS, seconds)


async def hold_for_texts(model: Model, texts: Sequence[str], seconds: float) -> Held:
    """Reserve the texts that are embedded or ranked. Raises as `hold_for_chat`."""
    longest = model.max_input_tokens
    return await _hold(model, sum(min(longest, estimate_tokens(text)) for text in texts), 0, seconds)


async def _hold(model: Model, input_tokens: int, output_tokens: int, seconds: float) -> Held:
    recorder = current_recorder()
    if recorder is None or not recorder.budgets:
        return Held()
    return Held(recorder, await in_database(_reserve, recorder, model, (input_tokens, output_tokens), seconds))


def _reserve(recorder: TraceRecorder, model: Model, tokens: tuple[int, int], seconds: float) -> Hold:
    ask = Ask(model.slug, *tokens, rates=_rates(recorder.workspace_id, model), seconds=seconds)
    return reserve(recorder.budgets, ask)


def _rates(workspace_id: uuid.UUID, model: Model) -> Rates | None:
    """The most that a token of the model costs now; None where nobody knows."""
    price = PriceList.of(workspace_id, [model.pk]).price_at(model.pk, timezone.now())
    if price is None:
        return Rates(Decimal(0), Decimal(0), "USD") if model.provider.type == ProviderType.LOCAL else None
    inputs = [price.input, price.cached_input or Decimal(0)]
    outputs = [price.output, price.reasoning or Decimal(0)]
    return Rates(max(inputs) / PER_TOKENS, max(outputs) / PER_TOKENS, price.currency)


def _settle(recorder: TraceRecorder, hold: Hold, span_id: uuid.UUID) -> None:
    """A database that is away is told with the books of the run: the reservation is held until then."""

    def count() -> None:
        recorder.price()
        settle(hold, [entry for entry in recorder.usage if entry.span_id == span_id])

    try:
        count()
    except DatabaseError:
        logger.warning("budget.not_settled", exc_info=True)
        recorder.unsettled.append(count)
