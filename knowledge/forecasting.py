"""What embedding would cost: tokens, estimated on the safe side, times the model's price of now.

Of stored passages the text under its headings is counted, which is what is embedded. Of files that are still to come
the history tells how much text their bytes hold: that of the source's own documents, else of the workspace's; without
any, each byte counts.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F, Func, IntegerField, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, Length
from django.utils import timezone

from knowledge.choices import DocumentStatus
from knowledge.models import Chunk, Document, KnowledgeSource
from llm.choices import ProviderType
from llm.models import Model
from llm.pricing import PriceList, cost_of
from llm.tokens import CHARACTERS_PER_TOKEN
from observability.budget_models import Budget
from observability.budgets.amounts import amount_text
from observability.budgets.applicable import budgets_of
from observability.budgets.standing import standings
from observability.choices import BudgetUnit
from plugins.contracts import TokenUsage


@dataclass(frozen=True)
class Forecast:
    """What is to be embedded, and what that costs. cost: null where the model has no price; zero for local models."""

    model: str
    documents: int
    tokens: int
    cost: Decimal | None
    currency: str

    @property
    def text(self) -> str:
        """For people; empty where nothing is to be paid or nobody knows."""
        if not self.cost:
            return ""
        return f"About {self.tokens:,} tokens of {self.model}, which cost about {self.cost:.4f} {self.currency}."


def reindex_forecast(source: KnowledgeSource) -> Forecast:
    """What it costs to embed all passages of the source anew."""
    passages = Chunk.objects.for_workspace(source.workspace_id).filter(document__source=source)
    documents = passages.values("document").distinct().count()
    return _forecast(source, documents, _characters(passages))


def files_forecast(source: KnowledgeSource, sizes: Sequence[int]) -> Forecast:
    """What it costs to embed new files of these sizes (bytes)."""
    return _forecast(source, len(sizes), int(sum(sizes) * _text_in_a_byte(source)))


def _text_in_a_byte(source: KnowledgeSource) -> float:
    rows = Document.objects.for_workspace(source.workspace_id).filter(status=DocumentStatus.READY)
    for documents in (rows.filter(source=source), rows):
        read = documents.aggregate(size=Sum("size"))["size"]
        if read:
            chunks = Chunk.objects.for_workspace(source.workspace_id).filter(document__in=documents)
            return _characters(chunks) / int(read)
    return 1.0


def _characters(passages: QuerySet[Chunk]) -> int:
    headings = Func(F("heading_path"), Value(" › "), function="array_to_string")
    length = Length("text") + Length("document__title") + Coalesce(Length(headings), 0)
    total = passages.aggregate(total=Sum(length, output_field=IntegerField()))["total"]
    return int(total or 0)


def price_text(source: KnowledgeSource) -> str:
    """What embedding costs here, for people; empty where nothing is to be paid or nobody knows."""
    model: Model = source.embedding_model
    price = PriceList.of(source.workspace_id, [model.pk]).price_at(model.pk, timezone.now())
    if price is None or not price.input:
        return ""
    amount = f"{price.input:f}".rstrip("0").rstrip(".")
    return f"{amount} {price.currency} for 1,000,000 tokens, by {model.name}"


def _forecast(source: KnowledgeSource, documents: int, characters: int) -> Forecast:
    model: Model = source.embedding_model
    tokens = int(characters / CHARACTERS_PER_TOKEN) + (1 if characters else 0)
    price = PriceList.of(source.workspace_id, [model.pk]).price_at(model.pk, timezone.now())
    if price is not None:
        return Forecast(model.slug, documents, tokens, cost_of(price, TokenUsage(input_tokens=tokens)), price.currency)
    local = model.provider.type == ProviderType.LOCAL
    return Forecast(model.slug, documents, tokens, Decimal(0) if local else None, "USD")


def over_budget(forecast: Forecast, workspace_id: uuid.UUID, key_id: uuid.UUID | None = None) -> str:
    """Which budget the work would exceed, in a sentence; empty when all of them have room."""
    ids = budgets_of(workspace_id, key_id=key_id, target=None)
    budgets = list(Budget.objects.for_workspace(workspace_id).filter(pk__in=ids).order_by("name"))
    for budget in budgets:
        left = standings([budget])[budget.pk].left
        if budget.unit == BudgetUnit.TOKENS:
            needed = Decimal(forecast.tokens)
        elif forecast.cost is None or forecast.currency != budget.currency:
            continue  # the calls themselves are refused where they cannot be counted
        else:
            needed = forecast.cost
        if needed > left:
            about, rest = amount_text(needed, budget), amount_text(left, budget)
            return f"It would take about {about}, and the budget '{budget.name}' has {rest} left."
    return ""
