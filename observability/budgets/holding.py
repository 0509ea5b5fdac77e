"""Reserve before a call, settle after it: budgets that hold, however many calls run side by side.

The rows of the periods are locked, in one order, for the time of a few statements and never while a model is asked.
What a call may take at most is reserved first, so that calls side by side cannot spend the same rest. It is settled
with the figures of the usage records themselves. What a dead process had reserved is given back when its lease ends.
"""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.audit import audit
from observability.budget_models import Budget, BudgetPeriod, Reservation
from observability.budgets.amounts import amount_text
from observability.budgets.periods import period_at
from observability.choices import BudgetPeriodLength, BudgetUnit
from observability.exceptions import BudgetExceeded, BudgetUncountable
from observability.tracing import UsageEntry

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5
GRACE = timedelta(seconds=60)
KEPT = timedelta(days=1)
BATCH = 500


@dataclass(frozen=True)
class Rates:
    """What one token costs at most. Unknown where the model has no price."""

    input: Decimal
    output: Decimal
    currency: str


@dataclass(frozen=True)
class Ask:
    """What a call wants: tokens that it sends, and the most that it may be answered. seconds: its deadline."""

    model: str
    input_tokens: int
    output_tokens: int
    rates: Rates | None
    seconds: float


@dataclass(frozen=True)
class Hold:
    """What was reserved. output_tokens: how many tokens the answer may have; less than asked for where the rest of a
    budget is smaller."""

    reservations: tuple[uuid.UUID, ...]
    output_tokens: int


@dataclass(frozen=True)
class _Refusal:
    budget: Budget
    period: BudgetPeriod
    busy: bool


def reserve(budget_ids: Sequence[uuid.UUID], ask: Ask) -> Hold:
    """Reserve what the call may take in each of these budgets, or in none of them.

    Raises BudgetExceeded, with the time until the period ends, or a few seconds when others only hold the rest.
    """
    with transaction.atomic():
        now = timezone.now()
        budgets = list(Budget._unscoped.filter(pk__in=budget_ids, is_active=True).order_by("pk"))
        periods = _locked_periods(budgets, now)
        refusal = next((found for pair in zip(budgets, periods, strict=True) if (found := _refused(*pair, ask))), None)
        if refusal is None:
            return _held(periods, ask, [_room(one, period, ask) for one, period in zip(budgets, periods, strict=True)])
        if not refusal.busy:
            _say_once(refusal.budget, refusal.period, "exhausted", "exhausted_at")
    raise _exceeded(refusal, now)


def _locked_periods(budgets: Sequence[Budget], now: datetime) -> list[BudgetPeriod]:
    """The current period of each budget, locked, in the order of the budgets."""
    wanted = [_period_of(budget, now) for budget in budgets]
    BudgetPeriod._unscoped.bulk_create(wanted, ignore_conflicts=True)
    rows = BudgetPeriod._unscoped.filter(
        budget_id__in=[one.budget_id for one in wanted], starts_at__in=[one.starts_at for one in wanted]
    )
    found = {_key(row): row for row in rows.order_by("budget_id", "pk").select_for_update()}
    return [found[_key(one)] for one in wanted]


def _period_of(budget: Budget, now: datetime) -> BudgetPeriod:
    span = period_at(now, BudgetPeriodLength(budget.period), budget.zone)
    currency = budget.currency if budget.unit == BudgetUnit.MONEY else ""
    return BudgetPeriod(
        workspace_id=budget.workspace_id,
        budget=budget,
        starts_at=span.starts_at,
        ends_at=span.ends_at,
        unit=budget.unit,
        currency=currency,
    )


def _key(period: BudgetPeriod) -> tuple[object, ...]:
    return (period.budget_id, period.starts_at, period.ends_at, period.unit, period.currency)


def _rates(budget: Budget, ask: Ask) -> Rates:
    """What a token takes of this budget. A model that cannot be counted is refused, or the budget would not hold."""
    if budget.unit == BudgetUnit.TOKENS:
        return Rates(Decimal(1), Decimal(1), "")
    if ask.rates is None or (ask.rates.currency != budget.currency and (ask.rates.input or ask.rates.output)):
        has = "no price" if ask.rates is None else f"a price in {ask.rates.currency}"
        raise BudgetUncountable(
            f"The model '{ask.model}' has {has}, so the budget '{budget.name}' in {budget.currency} cannot count it.",
            hint="An admin can add a price to the model (0 where it costs nothing), or take a budget in tokens.",
        )
    return ask.rates


def _refused(budget: Budget, period: BudgetPeriod, ask: Ask) -> _Refusal | None:
    rates = _rates(budget, ask)
    if not (rates.input or rates.output):
        return None  # what costs nothing is never too dear
    least = ask.input_tokens * rates.input + (rates.output if ask.output_tokens else 0)
    if least <= budget.limit - period.used - period.reserved:
        return None
    return _Refusal(budget, period, busy=least <= budget.limit - period.used)


def _room(budget: Budget, period: BudgetPeriod, ask: Ask) -> tuple[int, Rates]:
    """How many tokens of an answer the budget has room for, and what one of them takes."""
    rates = _rates(budget, ask)
    left = budget.limit - period.used - period.reserved - ask.input_tokens * rates.input
    if not rates.output:
        return ask.output_tokens, rates
    return min(ask.output_tokens, int((left / rates.output).to_integral_value(ROUND_FLOOR))), rates


def _held(periods: Sequence[BudgetPeriod], ask: Ask, rooms: Sequence[tuple[int, Rates]]) -> Hold:
    output = min((room for room, _ in rooms), default=ask.output_tokens)
    expires_at = timezone.now() + timedelta(seconds=ask.seconds) + GRACE
    rows = []
    for period, (_, rates) in zip(periods, rooms, strict=True):
        amount = ask.input_tokens * rates.input + output * rates.output
        BudgetPeriod._unscoped.filter(pk=period.pk).update(reserved=F("reserved") + amount)
        rows.append(Reservation(workspace_id=period.workspace_id, period=period, amount=amount, expires_at=expires_at))
    Reservation._unscoped.bulk_create(rows)
    return Hold(tuple(row.pk for row in rows), output)


def _exceeded(refusal: _Refusal, now: datetime) -> BudgetExceeded:
    budget, period = refusal.budget, refusal.period
    if refusal.busy:
        detail = f"What is left of the budget '{budget.name}' is reserved by calls that run now."
        return BudgetExceeded(detail, hint="Try again in a few seconds.", retry_after=BUSY_SECONDS, busy=True)
    left = max(Decimal(0), budget.limit - period.used)
    rest = f"; {amount_text(left, budget)} are left, which is too little for this call" if left else ""
    detail = f"The budget '{budget.name}' of {amount_text(budget.limit, budget)} a {budget.period} is used up{rest}."
    hint = f"It begins anew at {period.ends_at:%Y-%m-%d %H:%M} UTC; an admin can raise it."
    return BudgetExceeded(detail, hint=hint, retry_after=max(1, int((period.ends_at - now).total_seconds()) + 1))


@transaction.atomic
def settle(hold: Hold, entries: Sequence[UsageEntry]) -> None:
    """Count what the call really took, and give back the rest. Settled twice, it counts once."""
    rows = list(Reservation._unscoped.filter(pk__in=hold.reservations).order_by("period__budget_id", "period_id"))
    periods = BudgetPeriod._unscoped.filter(pk__in=[row.period_id for row in rows]).order_by("budget_id", "pk")
    locked = {row.pk: row for row in periods.select_for_update(of=("self",)).select_related("budget")}
    # Read again behind the locks: the sweeper may have released one meanwhile.
    for row in Reservation._unscoped.filter(pk__in=hold.reservations):
        period = locked[row.period_id]
        period.used += _spent(period, entries, row.amount)
        if row.released_at is None:
            period.reserved -= row.amount
        period.save(update_fields=["used", "reserved", "updated_at"])
        _tell(period)
    Reservation._unscoped.filter(pk__in=hold.reservations).delete()


def _spent(period: BudgetPeriod, entries: Sequence[UsageEntry], reserved: Decimal) -> Decimal:
    """What these calls take of the period. What cannot be counted, as of a fallback without a price, takes what was
    reserved."""
    if period.unit == BudgetUnit.TOKENS:
        return Decimal(sum(entry.input_tokens + entry.output_tokens for entry in entries))
    total = Decimal(0)
    for entry in entries:
        if not (entry.input_tokens or entry.output_tokens) or (entry.cost and entry.cost.amount == 0):
            continue
        if entry.cost is None or entry.cost.amount is None or entry.cost.currency != period.currency:
            return max(reserved, total)
        total += entry.cost.amount
    return total


def _tell(period: BudgetPeriod) -> None:
    budget = period.budget
    if period.used >= budget.limit:
        _say_once(budget, period, "exhausted", "exhausted_at")
    elif period.used >= budget.limit * budget.warn_percent / 100:
        _say_once(budget, period, "warned", "warned_at")


def _say_once(budget: Budget, period: BudgetPeriod, what: str, column: str) -> None:
    """In the log and in the audit log, once a period; the period's row is the alert that the overview shows."""
    if getattr(period, column) is not None:
        return
    setattr(period, column, timezone.now())
    period.save(update_fields=[column, "updated_at"])
    told = {"used": str(period.used), "limit": str(budget.limit), "until": period.ends_at.isoformat()}
    logger.warning(f"budget.{what}", extra={"budget": budget.slug, "workspace": str(budget.workspace_id), **told})
    audit(what, budget, changes={name: {"after": value} for name, value in told.items()})


def release_expired() -> int:
    """Give back what dead processes had reserved; how many reservations that were."""
    now = timezone.now()
    expired = Reservation._unscoped.filter(expires_at__lt=now)
    released = sum(_release(pk) for pk in list(expired.filter(released_at=None).values_list("pk", flat=True)[:BATCH]))
    Reservation._unscoped.filter(released_at__lt=now - KEPT).delete()
    return released


@transaction.atomic
def _release(pk: uuid.UUID) -> bool:
    row = Reservation._unscoped.filter(pk=pk).first()
    if row is None:
        return False
    BudgetPeriod._unscoped.select_for_update().get(pk=row.period_id)
    if not Reservation._unscoped.filter(pk=pk, released_at=None).update(released_at=timezone.now()):
        return False
    BudgetPeriod._unscoped.filter(pk=row.period_id).update(reserved=F("reserved") - row.amount)
    logger.warning("budget.reservation_released", extra={"reservation": str(pk)})
    return True
