"""Where budgets stand now."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from core.doctor import Finding, Level
from observability.budget_models import Budget, BudgetPeriod
from observability.budgets.amounts import amount_text
from observability.budgets.periods import period_at
from observability.choices import BudgetPeriodLength, BudgetUnit


@dataclass(frozen=True)
class Standing:
    """A budget in its current period. reserved: by calls that run now. left: never below zero."""

    starts_at: datetime
    ends_at: datetime
    used: Decimal
    reserved: Decimal
    left: Decimal
    warned_at: datetime | None
    exhausted_at: datetime | None

    def share(self, limit: Decimal) -> int:
        """What is used, in percent of the limit; of a limit of 0 all is."""
        return int(self.used * 100 / limit) if limit else 100


def standings(budgets: Iterable[Budget]) -> dict[uuid.UUID, Standing]:
    """Of each budget, in one query."""
    now, rows = timezone.now(), list(budgets)
    periods = BudgetPeriod._unscoped.filter(budget__in=rows, starts_at__lte=now, ends_at__gt=now)
    found: dict[tuple[object, ...], BudgetPeriod] = {
        (one.budget_id, one.starts_at, one.ends_at, one.unit, one.currency): one for one in periods
    }
    return {budget.pk: _standing(budget, found, now) for budget in rows}


def _standing(budget: Budget, found: dict[tuple[object, ...], BudgetPeriod], now: datetime) -> Standing:
    span = period_at(now, BudgetPeriodLength(budget.period), budget.zone)
    currency = budget.currency if budget.unit == BudgetUnit.MONEY else ""
    key = (budget.pk, span.starts_at, span.ends_at, budget.unit, currency)
    period = found.get(key) or BudgetPeriod()
    return Standing(
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        used=period.used,
        reserved=period.reserved,
        left=max(Decimal(0), budget.limit - period.used - period.reserved),
        warned_at=period.warned_at,
        exhausted_at=period.exhausted_at,
    )


@dataclass(frozen=True)
class Alert:
    """A budget that is nearly or wholly used up."""

    budget: Budget
    standing: Standing

    @property
    def text(self) -> str:
        used, limit = amount_text(self.standing.used, self.budget), amount_text(self.budget.limit, self.budget)
        state = "used up" if self.standing.exhausted_at else "nearly used up"
        return f"{state}: {used} of {limit}, until {self.standing.ends_at:%Y-%m-%d %H:%M} UTC"


def alerts(rows: QuerySet[Budget]) -> list[Alert]:
    """Those of these budgets that have warned or are used up in their current period."""
    active = list(rows.filter(is_active=True))
    found = standings(active)
    told = [Alert(budget, found[budget.pk]) for budget in active]
    return [one for one in told if one.standing.warned_at or one.standing.exhausted_at]


def budget_findings() -> Iterator[Finding]:
    """For `manage.py doctor`: budgets that are nearly or wholly used up, in all workspaces."""
    try:
        rows = Budget._unscoped.select_related("workspace")
        told, total = alerts(rows), rows.count()
    except DatabaseError:
        return  # said by the check of the database
    for one in told:
        where = f"{one.budget.name} of {one.budget.workspace.slug}"
        yield Finding("Budgets", Level.WARNING, f"{where} is {one.text}", "Raise its limit under Budgets in the admin.")
    if not told:
        yield Finding("Budgets", Level.OK, f"{total}, none nearly used up")
