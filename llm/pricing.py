"""What calls of models cost: the price of the model that really replied, as it stood when the call began.

The parts of a call, by the definitions of OpenTelemetry and most vendors: cached input is a part of the input,
reasoning is a part of the output. So nothing is billed twice:

    cost = (input - cached) * p.input + cached * (p.cached_input, else p.input)
         + (output - reasoning) * p.output + reasoning * (p.reasoning, else p.output)

divided by 1,000,000 and rounded once, at the end, half up, to 8 decimals.
"""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Protocol

from django.db.models import QuerySet

from core.compiled import AnyOf, Compiled, execute
from llm.choices import ProviderType
from llm.models import Model, ModelPrice
from observability.tracing import Cost, UsageEntry

PER_TOKENS = Decimal(1_000_000)
SMALLEST = Decimal("0.00000001")
# gpt-4o-2024-08-06, claude-3-5-haiku-20241022, claude-haiku@20241022, gpt-4-0613, mistral-large-2411, …-latest
DATED = re.compile(r"(-\d{4}-\d{2}-\d{2}|[-@]\d{8}|-\d{4}|-latest)$")


COLUMNS = ("workspace_id", "kind", "identifier", "provider_id", "provider__type")


class Tokens(Protocol):
    """Of a call: cached input is a part of the input, reasoning of the output."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def cached_input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...


@Compiled
def _with_neighbours(workspace_id: Any, ids: Any) -> QuerySet[Model]:
    return _models(workspace_id, ids).select_related("provider").only(*COLUMNS)


@Compiled
def _prices(workspace_id: Any, ids: Any) -> QuerySet[ModelPrice]:
    models = _models(workspace_id, ids).order_by().values("pk")
    return ModelPrice.objects.for_workspace(workspace_id).filter(model_id__in=models)


def _models(workspace_id: Any, ids: Any) -> QuerySet[Model]:
    """These models and all others of their providers."""
    here = Model.objects.for_workspace(workspace_id)
    return here.filter(provider_id__in=here.filter(AnyOf("pk", ids)).order_by().values("provider_id"))


def cost_of(price: ModelPrice, tokens: Tokens) -> Decimal:
    """The cost of one call, in the price's currency. A part that is larger than its whole is the whole."""
    cached = min(tokens.cached_input_tokens, tokens.input_tokens)
    reasoning = min(tokens.reasoning_tokens, tokens.output_tokens)
    cached_price = price.input if price.cached_input is None else price.cached_input
    reasoning_price = price.output if price.reasoning is None else price.reasoning
    total: Decimal = (
        (tokens.input_tokens - cached) * price.input
        + cached * cached_price
        + (tokens.output_tokens - reasoning) * price.output
        + reasoning * reasoning_price
    )
    return (total / PER_TOKENS).quantize(SMALLEST, ROUND_HALF_UP)


@dataclass
class PriceList:
    """The models of some providers with their prices, newest first."""

    models: dict[uuid.UUID, Model] = field(default_factory=dict)
    prices: dict[uuid.UUID, list[ModelPrice]] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace_id: uuid.UUID, model_ids: Iterable[uuid.UUID]) -> "PriceList":
        """The prices of these models and of their neighbours at the same provider, of which one may have replied."""
        asked = {"workspace_id": workspace_id, "ids": list(set(model_ids))}
        rows, prices = execute(_with_neighbours.filled(**asked), _prices.filled(**asked))
        models = {row.pk: row for row in rows}
        found = cls(models, {pk: [] for pk in models})
        for price in prices:
            if price.model_id in models:  # one may have been added between the two answers
                found.prices[price.model_id].append(price)
        return found

    def price_at(self, model_id: uuid.UUID, when: datetime) -> ModelPrice | None:
        """The row that is valid at this moment."""
        return next((one for one in self.prices.get(model_id, ()) if one.valid_from <= when), None)

    def price_of(self, model_id: uuid.UUID, replied: str, when: datetime) -> ModelPrice | None:
        """The price of the model that replied, which may be a neighbour, or a dated name of a model.

        A name that no model here has is the vendor's own for what was asked.
        """
        asked = self.models.get(model_id)
        if asked is None:
            return None
        priced = (self.price_at(model.pk, when) for model in self._candidates(asked, replied))
        return next((price for price in priced if price is not None), None)

    def _candidates(self, asked: Model, replied: str) -> Iterator[Model]:
        undated = DATED.sub("", replied)
        alike = [one for one in self.models.values() if (one.provider_id, one.kind) == (asked.provider_id, asked.kind)]
        if asked.identifier != replied:
            yield from (one for one in alike if one.identifier == replied)
            if DATED.sub("", asked.identifier) != undated:
                yield from (one for one in alike if one.identifier == undated)
        yield asked

    def cost_of(self, entry: UsageEntry) -> Cost:
        model = self.models.get(entry.model_id) if entry.model_id else None
        if model is None:
            return Cost(None)
        price = self.price_of(model.pk, entry.model_identifier, entry.created_at)
        if price is not None:
            return Cost(cost_of(price, entry), price.currency)
        # What runs on this machine is billed by nobody: that is known, and not an unknown price.
        return Cost(Decimal(0) if model.provider.type == ProviderType.LOCAL else None)


def price_entries(workspace_id: uuid.UUID, entries: Sequence[UsageEntry]) -> list[Cost]:
    """What these calls cost, in their order: two queries for all of them."""
    ids = {entry.model_id for entry in entries if entry.model_id is not None}
    prices = PriceList.of(workspace_id, ids) if ids else PriceList()
    return [prices.cost_of(entry) for entry in entries]
