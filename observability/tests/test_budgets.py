"""Budgets by themselves: periods, reserving, settling, what is said once, what the dead leave."""

import threading
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.exceptions import PermissionRefused
from observability.budget_services import budget_create, budget_update
from observability.budgets.applicable import budgets_of
from observability.budgets.holding import Ask, Rates, release_expired, reserve, settle
from observability.budgets.periods import period_at
from observability.budgets.standing import alerts, budget_findings, standings
from observability.choices import BudgetPeriodLength, Operation
from observability.exceptions import BudgetExceeded, BudgetUncountable
from observability.models import Budget, BudgetPeriod, Reservation
from observability.tracing import Cost, UsageEntry

DAY, MONTH = BudgetPeriodLength.DAY, BudgetPeriodLength.MONTH


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "moment, length, zone, starts, ends",
    [
        ("2026-05-01T23:59:59", DAY, "UTC", "2026-05-01T00:00", "2026-05-02T00:00"),
        ("2026-05-02T00:00:00", DAY, "UTC", "2026-05-02T00:00", "2026-05-03T00:00"),
        ("2026-01-31T23:59:59", MONTH, "UTC", "2026-01-01T00:00", "2026-02-01T00:00"),
        ("2026-12-15T12:00:00", MONTH, "UTC", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("2028-02-29T12:00:00", MONTH, "UTC", "2028-02-01T00:00", "2028-03-01T00:00"),
        # The days on which Paris changes its clock have 23 and 25 hours.
        ("2026-03-29T12:00:00", DAY, "Europe/Paris", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("2026-10-25T12:00:00", DAY, "Europe/Paris", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("2026-03-31T22:30:00", MONTH, "Europe/Paris", "2026-03-31T22:00", "2026-04-30T22:00"),
        # Cairo leaves out its midnight: the day begins at 01:00, which is where the gap ends.
        ("2026-04-24T12:00:00", DAY, "Africa/Cairo", "2026-04-23T22:00", "2026-04-24T21:00"),
    ],
)
def test_days_and_months_begin_at_local_midnight(moment, length, zone, starts, ends):
    found = period_at(at(moment), length, zone)

    assert (found.starts_at, found.ends_at) == (at(starts), at(ends))


def test_periods_follow_each_other_without_gap_or_overlap():
    moment = at("2026-01-01T12:00")
    for zone in ("UTC", "Europe/Paris", "Africa/Cairo", "America/Sao_Paulo", "Australia/Lord_Howe"):
        found = period_at(moment, DAY, zone)
        for _ in range(400):
            following = period_at(found.ends_at, DAY, zone)
            assert following.starts_at == found.ends_at
            assert period_at(found.ends_at - timedelta(microseconds=1), DAY, zone) == found
            found = following


@pytest.fixture
def admin(db):
    return principal_of(MembershipFactory(role=Role.ADMIN))


def make(principal, **values) -> Budget:
    given = {"name": "Small", "slug": f"b-{uuid.uuid4()}"[:20], "unit": "tokens", "limit": 1000, "period": "day"}
    return budget_create(principal=principal, values={**given, **values})


def ask(given=100, spoken=0, rates=None, seconds=300.0) -> Ask:
    return Ask("m", given, spoken, rates, seconds)


def spent(tokens=0, cost=None, currency="USD") -> UsageEntry:
    amount = None if cost is None else Decimal(cost)
    return UsageEntry(Operation.CHAT, "o", "o", "m", "m", input_tokens=tokens, cost=Cost(amount, currency))


def standing(budget):
    return standings([budget])[budget.pk]


def test_what_is_reserved_is_held_and_what_is_used_is_counted(admin):
    budget = make(admin)

    hold = reserve([budget.pk], ask(100, 200))
    before = standing(budget)
    settle(hold, [spent(150)])

    assert (before.used, before.reserved, before.left) == (0, 300, 700)
    assert (standing(budget).used, standing(budget).reserved, standing(budget).left) == (150, 0, 850)
    assert not Reservation._unscoped.exists()


def test_settling_twice_counts_once(admin):
    budget = make(admin)
    hold = reserve([budget.pk], ask())

    settle(hold, [spent(150)])
    settle(hold, [spent(150)])

    assert (standing(budget).used, standing(budget).reserved) == (150, 0)


def test_an_answer_gets_no_more_than_what_is_left(admin):
    budget = make(admin)

    assert reserve([budget.pk], ask(100, 4096)).output_tokens == 900
    assert standing(budget).left == 0


def test_a_budget_that_is_used_up_refuses_until_its_period_ends(admin):
    budget = make(admin, name="Trial")
    settle(reserve([budget.pk], ask(1000)), [spent(1000)])

    with pytest.raises(BudgetExceeded) as caught:
        reserve([budget.pk], ask(1))

    left = (standing(budget).ends_at - timezone.now()).total_seconds()
    assert not caught.value.busy
    assert left < caught.value.retry_after < left + 3
    assert (caught.value.status, caught.value.code) == (429, "budget_exceeded")
    assert "'Trial' of 1,000 tokens a day" in str(caught.value)


def test_a_rest_that_others_hold_is_worth_waiting_for(admin):
    budget = make(admin)
    reserve([budget.pk], ask(900))

    with pytest.raises(BudgetExceeded) as caught:
        reserve([budget.pk], ask(200))

    assert (caught.value.busy, caught.value.retry_after) == (True, 5)
    assert standing(budget).exhausted_at is None


def test_all_budgets_hold_or_none_is_touched(admin):
    wide, narrow = make(admin), make(admin, limit=50)

    with pytest.raises(BudgetExceeded):
        reserve([wide.pk, narrow.pk], ask(100))

    assert standing(wide).reserved == standing(narrow).reserved == 0


def test_money_is_counted_to_the_last_decimal(admin):
    budget = make(admin, unit="money", limit="0.01")
    rates = Rates(Decimal("0.0000025"), Decimal("0.00001"), "USD")

    hold = reserve([budget.pk], ask(1000, 4096, rates))
    settle(hold, [spent(1000, "0.00250001"), spent(1, "0.00000002")])

    assert hold.output_tokens == 750
    assert standing(budget).used == Decimal("0.00250003")


def test_a_cost_that_is_not_known_takes_what_was_reserved(admin):
    budget = make(admin, unit="money", limit=1)
    rates = Rates(Decimal("0.001"), Decimal(0), "USD")

    settle(reserve([budget.pk], ask(100, 0, rates)), [spent(100)])
    settle(reserve([budget.pk], ask(100, 0, rates)), [spent(100, "0.5", "EUR")])

    assert standing(budget).used == Decimal("0.2")


def test_a_model_that_a_budget_in_money_cannot_count_is_refused(admin):
    budget = make(admin, unit="money", limit=1, currency="EUR")

    with pytest.raises(BudgetUncountable, match="no price"):
        reserve([budget.pk], ask())
    with pytest.raises(BudgetUncountable, match="price in USD"):
        reserve([budget.pk], ask(rates=Rates(Decimal(1), Decimal(1), "USD")))


def test_what_costs_nothing_is_never_too_dear(admin):
    budget = make(admin, unit="money", limit=0)

    assert reserve([budget.pk], ask(10**6, 500, Rates(Decimal(0), Decimal(0), "USD"))).output_tokens == 500


def test_warning_and_end_are_said_once_a_period(admin, caplog):
    budget = make(admin, warn_percent=50)
    for tokens in (400, 200, 100):
        settle(reserve([budget.pk], ask(tokens)), [spent(tokens)])
    assert [one.text.split(":")[0] for one in alerts(Budget.objects.for_workspace(admin.workspace_id))] == [
        "nearly used up"
    ]
    settle(reserve([budget.pk], ask(300)), [spent(300)])
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            reserve([budget.pk], ask())

    said = [record.message for record in caplog.records if record.message.startswith("budget.")]
    assert said == ["budget.warned", "budget.exhausted"]
    events = AuditEvent.objects.filter(object_id=budget.pk).exclude(action="create").order_by("pk")
    assert [event.action for event in events] == ["warned", "exhausted"]
    assert "used up" in next(iter(budget_findings())).detail


def test_a_call_counts_to_the_period_in_which_it_began(admin):
    budget = make(admin)
    hold = reserve([budget.pk], ask(1000))
    period = BudgetPeriod._unscoped.get(budget=budget)
    yesterday = {"starts_at": period.starts_at - timedelta(days=1), "ends_at": period.starts_at}
    BudgetPeriod._unscoped.filter(pk=period.pk).update(**yesterday)

    settle(hold, [spent(1000)])

    assert (standing(budget).used, standing(budget).left) == (0, 1000)
    assert BudgetPeriod._unscoped.get(pk=period.pk).used == 1000
    assert reserve([budget.pk], ask(1000)).output_tokens == 0


def test_reservations_of_a_dead_process_are_given_back(admin):
    budget = make(admin)
    dead, live = reserve([budget.pk], ask(600)), reserve([budget.pk], ask(300))
    Reservation._unscoped.filter(pk__in=dead.reservations).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert (release_expired(), release_expired()) == (1, 0)
    assert standing(budget).reserved == 300
    settle(dead, [spent(50)])  # it was only slow
    settle(live, [spent(300)])

    assert (standing(budget).used, standing(budget).reserved) == (350, 0)


def test_a_change_of_the_limit_counts_at_once_and_keeps_what_was_used(admin):
    budget = make(admin)
    settle(reserve([budget.pk], ask(1000)), [spent(1000)])

    budget_update(budget, principal=admin, values={"limit": Decimal(1500)})

    assert reserve([budget.pk], ask(500)).output_tokens == 0


@pytest.mark.parametrize(
    "values",
    [
        {"limit": -1},
        {"limit": "1.5"},
        {"zone": "Mars/Base"},
        {"scope": "api_key"},
        {"scope": "tool"},
        {"scope": "tool", "target_kind": "rag_tool", "target_id": uuid.uuid4()},
        {"unit": "money", "currency": ""},
        {"unit": "money", "currency": "usd"},
        {"warn_percent": 101},
        {"period": "year"},
    ],
)
def test_what_is_no_budget_is_refused(admin, values):
    with pytest.raises(ValidationError):
        make(admin, **values)
    assert not Budget._unscoped.exists()


def test_an_operator_makes_no_budget(admin):
    operator = principal_of(MembershipFactory(workspace_id=admin.workspace_id, workspace=None, role=Role.OPERATOR))

    with pytest.raises(PermissionRefused):
        make(operator)


def test_which_budgets_apply(admin):
    whole, off, elsewhere = (
        make(admin),
        make(admin, is_active=False),
        make(principal_of(MembershipFactory(role="admin"))),
    )

    assert budgets_of(admin.workspace_id, key_id=uuid.uuid4(), target=("rag_tool", uuid.uuid4())) == (whole.pk,)
    assert off.pk != elsewhere.pk


@pytest.mark.django_db(transaction=True)
def test_parallel_calls_never_overspend():
    budget = make(principal_of(MembershipFactory(role=Role.ADMIN)))
    admitted, refused = [], []

    def call():
        try:
            for _ in range(5):
                try:
                    hold = reserve([budget.pk], ask(30, 40))
                except BudgetExceeded as exceeded:
                    refused.append(exceeded)
                else:
                    admitted.append(hold)
                    settle(hold, [spent(30 + hold.output_tokens)])
        finally:
            connection.close()

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(admitted) + len(refused) == 50
    assert len(admitted) >= 14
    assert 930 < standing(budget).used <= 1000
    assert standing(budget).reserved == 0
