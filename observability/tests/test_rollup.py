"""Usage added up: nothing lost, nothing twice, percentiles within their bound."""

import math
import random
import threading
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connections, transaction
from django.utils import timezone

from accounts.tests.factories import WorkspaceFactory
from core.schedules import first_id_of
from observability.choices import Grain
from observability.models import UsageRecord, UsageRollup
from observability.recurring import WORK
from observability.usage import latency, rollup

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def use(workspace, **values):
    given = {"operation": "chat", "provider_slug": "openai", "model_slug": "small", "created_at": NOON, **values}
    record = UsageRecord(workspace=workspace, **given)
    record.save()
    return record


def rows(grain=Grain.HOUR):
    return list(UsageRollup._unscoped.filter(grain=grain).order_by("start", "model_slug", "currency"))


def test_records_are_added_to_their_hour_and_their_day():
    workspace = WorkspaceFactory()
    use(
        workspace,
        input_tokens=7,
        output_tokens=2,
        cached_input_tokens=3,
        reasoning_tokens=1,
        cost=Decimal("0.00000001"),
    )
    use(workspace, input_tokens=5, duration_ms=100, estimated=True, created_at=NOON.replace(minute=59, second=59))
    use(workspace, input_tokens=1, created_at=NOON + timedelta(minutes=30))

    assert rollup.roll_up() == 3

    first, second = rows()
    assert (first.start, second.start) == (NOON.replace(minute=0), NOON.replace(hour=13, minute=0))
    assert (first.calls, first.input_tokens, first.output_tokens, first.cached_input_tokens) == (2, 12, 2, 3)
    assert (first.reasoning_tokens, first.cost, first.unpriced, first.estimated) == (1, Decimal("0.00000001"), 1, 1)
    (day,) = rows(Grain.DAY)
    assert (day.start, day.calls, day.input_tokens) == (NOON.replace(hour=0, minute=0), 3, 13)


@pytest.mark.parametrize(
    "name, value",
    [
        ("operation", "embeddings"),
        ("provider_slug", "other"),
        ("model_slug", "large"),
        ("target_kind", "rag_tool"),
        ("target_slug", "handbook-qa"),
        ("key_id", uuid.UUID(int=1)),
        ("status", "error"),
        ("currency", "EUR"),
    ],
)
def test_what_differs_in_one_respect_is_added_up_apart(name, value):
    workspace = WorkspaceFactory()
    use(workspace)
    use(workspace, **{name: value})

    rollup.roll_up()

    assert [row.calls for row in rows()] == [1, 1]


def test_workspaces_are_added_up_apart():
    one, other = WorkspaceFactory(), WorkspaceFactory()
    use(one)
    use(other)

    rollup.roll_up()

    assert {(row.workspace_id, row.calls) for row in rows()} == {(one.pk, 1), (other.pk, 1)}


def test_a_second_roll_up_adds_nothing_and_a_late_record_is_added():
    workspace = WorkspaceFactory()
    use(workspace, duration_ms=10)
    rollup.roll_up()

    assert rollup.roll_up() == 0
    assert [row.calls for row in rows()] == [1]

    use(workspace, duration_ms=1000, created_at=NOON - timedelta(minutes=20))
    use(workspace, duration_ms=10)
    assert rollup.roll_up(batch=1) == 2

    (row,) = rows()
    assert (row.calls, row.latency_counts) == (3, [2, 1])
    assert row.latency_buckets == [latency.bucket_of(10), latency.bucket_of(1000)]


def test_a_roll_up_that_fails_has_counted_nothing():
    use(WorkspaceFactory())

    with transaction.atomic():
        rollup.roll_up()
        transaction.set_rollback(True)

    assert rows() == []
    assert rollup.roll_up() == 1


def test_two_at_once_count_each_record_once(transactional_db):
    workspace = WorkspaceFactory()
    UsageRecord._unscoped.bulk_create(
        UsageRecord(workspace=workspace, operation="chat", model_slug=f"m{n % 7}", created_at=NOON) for n in range(400)
    )

    def work():
        for _ in range(60):
            rollup.roll_up(batch=10, patience=5)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not UsageRecord._unscoped.filter(rolled_up=False).exists()
    assert sum(row.calls for row in rows()) == sum(row.calls for row in rows(Grain.DAY)) == 400


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_percentiles_are_within_their_bound_in_python_and_in_the_database(seed):
    chance = random.Random(seed)
    durations = [chance.lognormvariate(6, 1.5) for _ in range(3000)] + [0.0, 0.4, 1.0]
    workspace = WorkspaceFactory()
    UsageRecord._unscoped.bulk_create(
        UsageRecord(workspace=workspace, operation="chat", model_slug="m", duration_ms=one, created_at=NOON)
        for one in durations
    )

    rollup.roll_up(batch=1000)

    (row,) = rows()
    counts = dict(zip(row.latency_buckets, row.latency_counts, strict=True))
    assert sum(counts.values()) == len(durations)
    for q in (0.5, 0.95, 0.99):
        exact = sorted(durations)[math.floor(q * (len(durations) - 1))]
        assert latency.quantile(counts, q) == pytest.approx(exact, rel=latency.ACCURACY * 1.001)


def test_an_empty_sketch_has_no_percentiles_and_a_huge_duration_counts_as_a_day():
    assert latency.percentiles({}) == latency.Percentiles(None, None, None)
    assert latency.quantile({latency.bucket_of(1e15): 1}, 0.99) == pytest.approx(86_400_000, rel=latency.ACCURACY)


def test_old_records_go_only_when_they_are_added_up():
    workspace, old = WorkspaceFactory(), timezone.now() - timedelta(days=91)
    use(workspace, pk=first_id_of(old), created_at=old)
    young = use(workspace, created_at=timezone.now())

    assert WORK["old-usage-records"].work() == 0

    rollup.roll_up()
    assert WORK["old-usage-records"].work() == 1
    assert list(UsageRecord._unscoped.all()) == [young]
    assert sum(row.calls for row in rows()) == 2


def test_old_hours_go_and_their_days_stay(settings):
    use(WorkspaceFactory(), created_at=timezone.now() - timedelta(days=402))
    rollup.roll_up()

    settings.RETENTION_DAYS = 0
    assert WORK["old-usage-hours"].work() == 0
    settings.RETENTION_DAYS = 90
    assert WORK["old-usage-hours"].work() == 1
    assert [row.calls for row in rows(Grain.DAY)] == [1]
