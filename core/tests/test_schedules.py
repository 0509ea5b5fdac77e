"""Cron expressions on days when the clock changes, and deleting in batches."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.ids import uuid7
from core.schedules import BadCron, UnknownZone, delete_in_batches, first_id_of, next_run

PARIS = "Europe/Paris"


def runs(cron: str, zone: str, after: datetime, count: int) -> list[str]:
    found = []
    for _ in range(count):
        due = next_run(cron, zone, after)
        found.append(f"{due:%m-%d %H:%M}")
        after = due
    return found


def test_time_that_spring_leaves_out_is_due_once_where_the_gap_ends() -> None:
    # 29 March 2026: 02:00 becomes 03:00, which is 01:00 UTC.
    found = runs("30 2 * * *", PARIS, datetime(2026, 3, 28, 0, 0, tzinfo=UTC), 3)

    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]


def test_time_that_autumn_has_twice_is_due_once() -> None:
    # 25 October 2026: 03:00 becomes 02:00 again; 02:30 is 00:30 UTC and then 01:30 UTC.
    found = runs("30 2 * * *", PARIS, datetime(2026, 10, 24, 0, 0, tzinfo=UTC), 3)

    assert found == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_start_between_the_two_half_past_two_does_not_run_again() -> None:
    assert runs("30 2 * * *", PARIS, datetime(2026, 10, 25, 0, 45, tzinfo=UTC), 1) == ["10-26 01:30"]


def test_every_half_hour_follows_the_time_that_passes() -> None:
    spring = runs("*/30 * * * *", PARIS, datetime(2026, 3, 29, 0, 0, tzinfo=UTC), 3)
    autumn = runs("*/30 * * * *", PARIS, datetime(2026, 10, 25, 0, 0, tzinfo=UTC), 4)

    assert spring == ["03-29 00:30", "03-29 01:00", "03-29 01:30"]
    assert autumn == ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]


def test_utc_knows_no_change() -> None:
    assert runs("30 2 * * *", "UTC", datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["03-29 02:30", "03-30 02:30"]


def test_date_that_never_comes_is_refused() -> None:
    with pytest.raises(BadCron, match="names a date that never comes"):
        next_run("0 0 */28 2 MON#2", "UTC", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("cron", ["", "61 * * * *", "* * * *", "daily", "0 0 31 2 *"])
def test_text_that_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(BadCron, match="write five fields such as"):
        next_run(cron, "UTC", datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("zone", ["", "Paris", "../etc/passwd", "Europe/Paris\0", "/etc/localtime"])
def test_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(UnknownZone, match="is not a time zone: write a name such as Europe/Paris"):
        next_run("* * * * *", zone, datetime(2026, 1, 1, tzinfo=UTC))


def test_first_id_of_a_moment_divides_older_ids_from_younger() -> None:
    before, now = uuid7(), datetime.now(UTC)

    assert first_id_of(now - timedelta(seconds=1)) < before < first_id_of(now + timedelta(seconds=1))


@pytest.mark.django_db
class TestBatches:
    @pytest.fixture(autouse=True)
    def sessions(self) -> None:
        for number in range(5):
            Session.objects.create(session_key=f"old-{number}", session_data="", expire_date=timezone.now())
        later = timezone.now() + timedelta(days=1)
        Session.objects.create(session_key="young", session_data="", expire_date=later)

    def test_only_the_rows_that_were_named_go_and_each_batch_is_small(self) -> None:
        old = Session.objects.filter(expire_date__lt=timezone.now())

        with CaptureQueriesContext(connection) as queries:
            removed = delete_in_batches(old, batch=2)

        assert removed == 5
        assert list(Session.objects.values_list("pk", flat=True)) == ["young"]
        assert sum("DELETE" in query["sql"] for query in queries) == 3

    def test_what_is_left_when_patience_ends_stays_for_the_next_time(self) -> None:
        assert delete_in_batches(Session.objects.all(), batch=2, patience=0) == 0
        assert Session.objects.count() == 6
