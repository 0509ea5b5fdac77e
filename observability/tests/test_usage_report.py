"""Reports of usage: the same from sums and from single calls, in every zone, and nothing of others."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from accounts.tests.factories import WorkspaceFactory
from core.exceptions import InvalidInput
from observability.choices import Grain
from observability.models import UsageRecord
from observability.usage import report, rollup
from observability.usage.query import (
    GroupBy,
    Interval,
    Period,
    Preset,
    UsageQuery,
    check_steps,
    period_of,
    preset_period,
    zone_of,
)
from observability.usage.report import Level, Piece, pieces, usage_report, whole

UTC_ZONE = ZoneInfo("UTC")
PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)


def at(day: int, hour: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def use(workspace, when, **values):
    given = {"operation": "chat", "provider_slug": "openai", "model_slug": "small", "created_at": when, **values}
    UsageRecord(workspace=workspace, **given).save()


def november(workspace, zone=UTC_ZONE, **values) -> UsageQuery:
    return UsageQuery(workspace.pk, Period(at(1), at(1, month=12), zone), **values)


FIRST = [
    (at(2, 23), {"input_tokens": 10, "output_tokens": 1, "duration_ms": 100, "cost": Decimal("0.5")}),
    (
        at(3, 2),
        {"input_tokens": 40, "duration_ms": 4000, "status": "error", "target_kind": "rag_tool", "target_slug": "qa"},
    ),
]
LATER = [
    (at(3, 1), {"input_tokens": 20, "duration_ms": 200, "cost": Decimal("0.25"), "model_slug": "large"}),
    (at(20, 2), {"cached_input_tokens": 3, "cost": Decimal(1), "currency": "EUR", "key_id": UUID(int=7)}),
    (at(30, 23, month=10), {"input_tokens": 5}),
]


@pytest.fixture(params=["single calls", "sums", "both"])
def kept(request, db):
    """A workspace with calls that are all, none, or in part rolled up; and calls of another one."""
    workspace = WorkspaceFactory()
    use(WorkspaceFactory(), at(3, 2), input_tokens=10_000)
    for when, values in FIRST:
        use(workspace, when, **values)
    if request.param == "both":
        rollup.roll_up()
    for when, values in LATER:
        use(workspace, when, **values)
    if request.param == "sums":
        rollup.roll_up()
    return workspace


@pytest.fixture
def workspace(db):
    made = WorkspaceFactory()
    for when, values in FIRST + LATER:
        use(made, when, **values)
    return made


def test_whole_period_is_the_same_from_sums_and_from_single_calls(kept):
    figures = whole(usage_report(november(kept), [Level.WHOLE]))

    assert (figures.calls, figures.errors, figures.estimated, figures.unpriced) == (4, 1, 0, 1)
    assert (figures.input_tokens, figures.output_tokens, figures.cached_input_tokens, figures.tokens) == (70, 1, 3, 71)
    assert figures.cost == {"USD": Decimal("0.75"), "EUR": Decimal(1)}
    assert figures.latency.p50 == pytest.approx(100, rel=0.02)
    assert figures.latency.p99 == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize(
    "group, expected",
    [
        (GroupBy.MODEL, {"openai/small": 3, "openai/large": 1}),
        (GroupBy.TOOL, {"": 3, "rag_tool:qa": 1}),
        (GroupBy.KEY, {"": 3, str(UUID(int=7)): 1}),
        (GroupBy.USER, {"": 4}),
        (GroupBy.PROVIDER, {"openai": 4}),
        (GroupBy.OPERATION, {"chat": 4}),
        (GroupBy.STATUS, {"ok": 3, "error": 1}),
    ],
)
def test_groups_and_their_filters(kept, group, expected):
    rows = usage_report(november(kept, group_by=group), [Level.GROUP])[Level.GROUP]

    assert {row.group: row.figures.calls for row in rows} == expected
    for value, calls in expected.items():
        filtered = november(kept, filters={group: value})
        assert whole(usage_report(filtered, [Level.WHOLE])).calls == calls


def test_days_begin_at_midnight_of_the_zone(kept):
    def days(zone):
        rows = usage_report(november(kept, zone, interval=Interval.DAY), [Level.STEP])[Level.STEP]
        return [(row.start.isoformat(), row.figures.calls) for row in rows]

    assert days(UTC_ZONE) == [
        ("2026-11-02T00:00:00+00:00", 1),
        ("2026-11-03T00:00:00+00:00", 2),
        ("2026-11-20T00:00:00+00:00", 1),
    ]
    assert days(PARIS) == [("2026-11-03T00:00:00+01:00", 3), ("2026-11-20T00:00:00+01:00", 1)]


def test_steps_and_groups_together_are_in_order_of_time_and_tokens(kept):
    query = november(kept, interval=Interval.MONTH, group_by=GroupBy.MODEL)
    measured = usage_report(query, [Level.BOTH, Level.WHOLE])

    assert [(row.start.day, row.group) for row in measured[Level.BOTH]] == [(1, "openai/small"), (1, "openai/large")]
    assert whole(measured).calls == 4


def test_nothing_of_another_workspace(workspace):
    assert whole(usage_report(november(WorkspaceFactory()), [Level.WHOLE])) == report.Figures()


def test_a_report_takes_two_statements(workspace, django_assert_num_queries):
    with django_assert_num_queries(2):
        usage_report(november(workspace, interval=Interval.DAY, group_by=GroupBy.USER), list(Level))


def test_too_many_rows_are_refused(workspace, monkeypatch):
    monkeypatch.setattr(report, "MAX_ROWS", 1)

    with pytest.raises(InvalidInput, match="More than 1 rows"):
        usage_report(november(workspace, group_by=GroupBy.MODEL), [Level.GROUP])


def test_reports_use_the_indexes(workspace):
    many = [UsageRecord(workspace=workspace, created_at=at(2), rolled_up=n > 20, operation="chat") for n in range(2000)]
    UsageRecord._unscoped.bulk_create(many)
    source, parameters = report._source(november(workspace))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE observability_usagerecord")  # which index is best is told by the statistics
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {source} SELECT * FROM placed", parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert "Seq Scan" not in plan
    assert "observability_usage_tail" in plan


# --- periods


@pytest.mark.parametrize(
    "preset, start, end",
    [
        ("24h", at(27, 10), at(28, 10)),
        ("7d", at(21, 23), at(28, 10)),
        ("this-month", at(31, 23, month=10), at(28, 10)),
        ("last-month", at(30, 22, month=9), at(31, 23, month=10)),
    ],
)
def test_presets_in_paris(preset, start, end):
    assert preset_period(Preset(preset), PARIS, NOW) == Period(start, end, PARIS)


@pytest.mark.parametrize(
    "start, end, expected",
    [
        ("2026-11-01", "2026-11-02", (at(31, 23, month=10), at(2, 23))),
        ("2026-11-01T09:20:00", "2026-11-01T10:00:00Z", (at(1, 8), at(1, 10))),
        ("", "2026-11-28T09:30:00Z", (at(29, 10, month=10), at(28, 10))),
        ("2026-11-28T09:10:00Z", "", (at(28, 9), at(28, 10))),
    ],
)
def test_a_period_is_widened_to_full_hours(start, end, expected):
    found = period_of(start, end, PARIS, NOW)

    assert (found.start, found.end) == expected


@pytest.mark.parametrize(
    "start, end, says",
    [
        ("x", "", "neither a date"),
        ("2026-02-30", "", "neither a date"),
        ("2026-11-30", "2026-11-01", "must begin before"),
        ("1990-01-01", "2026-11-01", "ten years"),
        ("0001-01-01", "0001-01-02", "neither a date"),
        ("", "9999-12-31", "neither a date"),
    ],
)
def test_a_bad_period_is_refused(start, end, says):
    with pytest.raises(InvalidInput, match=says):
        period_of(start, end, PARIS, NOW)


def test_a_zone_must_exist_and_steps_must_be_few():
    with pytest.raises(InvalidInput, match="is no time zone"):
        zone_of("../etc/passwd")
    with pytest.raises(InvalidInput, match="More than"):
        check_steps(UsageQuery(UUID(int=1), Period(at(1, month=1), at(28), UTC_ZONE), Interval.HOUR))


def test_the_previous_period_is_as_long_and_ends_where_this_begins():
    period = Period(at(10), at(12), UTC_ZONE)

    assert period.previous() == Period(at(8), at(10), UTC_ZONE)


def test_days_are_read_where_they_say_the_same_as_hours(settings):
    period, paris = Period(at(1, 5), at(28, 10), UTC_ZONE), Period(at(1, 5), at(28, 10), PARIS)
    days = [Piece(Grain.HOUR, at(1, 5), at(2)), Piece(Grain.DAY, at(2), at(28)), Piece(Grain.HOUR, at(28), at(28, 10))]
    hours = [Piece(Grain.HOUR, at(1, 5), at(28, 10))]

    assert pieces(period, None) == pieces(paris, None) == pieces(period, Interval.WEEK) == days
    assert pieces(period, Interval.HOUR) == pieces(paris, Interval.DAY) == hours
    assert pieces(Period(at(1, 5), at(1, 7), UTC_ZONE), None) == [Piece(Grain.HOUR, at(1, 5), at(1, 7))]
    assert [one.grain for one in pieces(Period(at(1) - timedelta(days=3650), at(28), PARIS), Interval.MONTH)] == [
        Grain.DAY,
        Grain.HOUR,
    ]
    settings.RETENTION_DAYS = 0
    assert [one.grain for one in pieces(Period(at(1) - timedelta(days=3650), at(28), PARIS), Interval.MONTH)] == [
        Grain.HOUR
    ]
