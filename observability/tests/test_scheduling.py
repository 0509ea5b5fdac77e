"""Schedules: handed out once, whoever ticks, and made up for once after the platform was down."""

import json
import threading
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, connections
from django.utils import timezone

from accounts.tests.factories import MembershipFactory, principal_of
from core.exceptions import Conflict, InvalidInput, PermissionRefused
from core.queue import Queue
from core.schedules import RECURRING, Recurring
from core.valkey import sync_client
from observability import tasks
from observability.models import Schedule
from observability.scheduling import MAX_LOST, hand_out_due, run_schedule, schedules_ensure
from observability.selectors import schedule_findings
from observability.services import schedule_run, schedule_update

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def empty_queue():
    sync_client().delete(Queue.DEFAULT.value)
    yield
    sync_client().delete(Queue.DEFAULT.value)


@pytest.fixture
def work(monkeypatch):
    """Recurring work called `counting`; `work.calls` is how often it was done, `work.then` what it does."""

    class Work:
        calls = 0

        def then(self):
            return 7

        def __call__(self):
            self.calls += 1
            return self.then()

    done = Work()
    item = Recurring(title="Count", text="", cron="0 * * * *", unit="things", work=done)
    monkeypatch.setitem(RECURRING._items, "counting", item)
    return done


def schedule(**values) -> Schedule:
    row = Schedule(**{"name": "counting", "cron": "0 * * * *", "next_run_at": NOW, **values})
    row.save()
    return row


def messages() -> list[list[str]]:
    found = [json.loads(raw) for raw in sync_client().lrange(Queue.DEFAULT.value, 0, -1)]
    return [json.loads(one["headers"]["argsrepr"].replace("'", '"')) for one in found]


@pytest.fixture
def handed_out(django_capture_on_commit_callbacks):
    """Tick at this time; answers the arguments of the tasks that are waiting then."""

    def tick(now: datetime = NOW) -> list[list[str]]:
        with django_capture_on_commit_callbacks(execute=True):
            hand_out_due(now)
        return messages()

    return tick


@pytest.mark.django_db
class TestHandingOut:
    def test_due_schedule_is_sent_once_and_moves_to_its_next_time(self, work, handed_out):
        row = schedule()

        assert handed_out() == [[str(row.pk), "1"]]
        assert handed_out(NOW + timedelta(seconds=15)) == [[str(row.pk), "1"]]

        row.refresh_from_db()
        assert (row.status, row.next_run_at) == ("queued", NOW + timedelta(hours=1))

    def test_neither_early_nor_switched_off(self, work, handed_out):
        schedule(next_run_at=NOW + timedelta(seconds=1))
        schedule(name="off", is_enabled=False)

        assert handed_out() == []

    def test_missed_runs_are_made_up_for_once(self, work, handed_out):
        row = schedule(next_run_at=NOW - timedelta(days=3))

        handed_out()
        run_schedule(row.pk, 1)
        handed_out(NOW + timedelta(seconds=15))

        row.refresh_from_db()
        assert work.calls == 1
        assert row.next_run_at == NOW + timedelta(hours=1)
        assert len(messages()) == 1

    def test_zone_decides_when_it_is_due(self, work, handed_out):
        row = schedule(cron="30 2 * * *", zone="Europe/Paris", next_run_at=datetime(2026, 3, 28, 1, 30, tzinfo=UTC))

        handed_out(datetime(2026, 3, 28, 1, 30, 5, tzinfo=UTC))

        row.refresh_from_db()
        assert row.next_run_at == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)

    def test_a_run_that_takes_longer_than_its_interval_is_not_doubled(self, work, handed_out):
        row = schedule(status="running", lease_expires_at=NOW + timedelta(minutes=1))

        assert handed_out() == []
        Schedule._unscoped.filter(pk=row.pk).update(status="idle", lease_expires_at=None)
        assert handed_out() == [[str(row.pk), "1"]]


@pytest.mark.django_db
class TestRunning:
    def test_a_run_writes_down_how_it_went(self, work):
        row = schedule(status="queued", token=4)

        assert tasks.run_schedule(str(row.pk), "4") is None

        row.refresh_from_db()
        assert (row.status, row.outcome, row.count, row.error) == ("idle", "succeeded", 7, "")
        assert (row.runs_total, row.failures_total, row.lease_expires_at) == (1, 0, None)
        assert row.started_at <= row.finished_at

    def test_a_message_that_comes_twice_runs_once(self, work):
        row = schedule(status="queued", token=1)

        assert [run_schedule(row.pk, 1), run_schedule(row.pk, 1), run_schedule(row.pk, 0)] == [True, False, False]
        assert work.calls == 1

    @pytest.mark.parametrize(
        "failure, error",
        [
            (KeyError("sk-secret"), "Unexpected KeyError; the log has the details."),
            (InvalidInput("The bucket is full.", hint="Empty it."), "The bucket is full. Empty it."),
            (SoftTimeLimitExceeded(), "It took longer than 300 s; what is left is done the next time."),
        ],
    )
    def test_a_failure_stands_on_the_row_without_what_was_in_it(self, work, failure, error):
        def fail():
            raise failure

        work.then = fail
        row = schedule(status="queued", token=1)

        run_schedule(row.pk, 1)

        row.refresh_from_db()
        assert (row.status, row.outcome, row.error, row.failures_total) == ("idle", "failed", error, 1)

    def test_work_that_is_gone_is_a_failure_that_says_so(self):
        row = schedule(name="gone", status="queued", token=1)

        run_schedule(row.pk, 1)

        row.refresh_from_db()
        assert row.outcome == "failed"
        assert row.error.startswith("No part of the platform does this any more.")

    def test_a_run_that_was_handed_to_another_process_does_not_write(self, work):
        row = schedule(status="queued", token=1)

        def meanwhile():
            Schedule._unscoped.filter(pk=row.pk).update(token=2, status="queued")
            return 1

        work.then = meanwhile
        run_schedule(row.pk, 1)

        row.refresh_from_db()
        assert (row.status, row.token, row.outcome) == ("queued", 2, "")


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize("swallows", [True, False])
def test_a_run_whose_connection_is_cut_is_written_down_over_a_new_one(work, swallows):
    row = schedule(status="queued", token=4)

    def cut():
        with suppress(OperationalError) if swallows else nullcontext(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return 7

    work.then = cut
    run_schedule(row.pk, 4)

    row.refresh_from_db()
    assert (row.status, row.runs_total, row.lease_expires_at) == ("idle", 1, None)
    assert row.error == ("" if swallows else "Unexpected OperationalError; the log has the details.")
    row.delete()


@pytest.mark.django_db
class TestLostRuns:
    @pytest.mark.parametrize("status", ["queued", "running"])
    def test_lost_run_is_handed_out_again_with_another_token(self, work, handed_out, status):
        row = schedule(status=status, token=1, next_run_at=NOW + timedelta(hours=1), lease_expires_at=NOW)

        assert handed_out(NOW + timedelta(seconds=1)) == [[str(row.pk), "2"]]
        assert run_schedule(row.pk, 1) is False
        assert run_schedule(row.pk, 2) is True

        row.refresh_from_db()
        assert (row.lost, row.next_run_at) == (0, NOW + timedelta(hours=1))

    def test_a_run_that_is_lost_each_time_fails_and_waits_for_its_next_time(self, work, handed_out):
        row = schedule(status="running", lost=MAX_LOST, next_run_at=NOW + timedelta(hours=1), lease_expires_at=NOW)

        assert handed_out(NOW + timedelta(seconds=1)) == []

        row.refresh_from_db()
        assert (row.status, row.outcome, row.error) == ("idle", "failed", "Its process was lost 4 times.")


@pytest.mark.django_db(transaction=True)
def test_many_schedulers_at_once_hand_each_run_out_exactly_once(work):
    rows = [schedule(name=f"counting-{number}") for number in range(10)]
    start = threading.Barrier(6)

    def scheduler() -> None:
        try:
            for minute in range(3):
                start.wait(10)
                hand_out_due(NOW + timedelta(hours=minute))
                start.wait(10)
                Schedule._unscoped.update(status="idle", lease_expires_at=None)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=scheduler) for _ in range(6)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        sent = messages()
        assert sorted(sent) == sorted([str(row.pk), str(token)] for row in rows for token in (1, 2, 3))
    finally:
        Schedule._unscoped.filter(pk__in=[row.pk for row in rows]).delete()


@pytest.mark.django_db
class TestTick:
    def test_a_tick_sweeps_and_writes_it_down(self):
        schedules_ensure()

        tasks.tick()

        sweep = Schedule._unscoped.get(name="sweep")
        assert (sweep.outcome, sweep.runs_total, sweep.next_run_at) == ("succeeded", 1, None)

    def test_rows_follow_what_is_registered_and_keep_what_was_changed(self, work):
        schedules_ensure()
        Schedule._unscoped.filter(name="expired-sessions").update(cron="5 5 * * *", is_enabled=False)
        schedule(name="gone")
        before = timezone.now()

        schedules_ensure()

        rows = {row.name: row for row in Schedule._unscoped.all()}
        assert set(rows) == set(RECURRING.names())
        assert (rows["expired-sessions"].cron, rows["expired-sessions"].is_enabled) == ("5 5 * * *", False)
        assert before < rows["counting"].next_run_at <= before + timedelta(hours=1)


@pytest.mark.django_db
class TestPeople:
    @pytest.fixture
    def superuser(self):
        return principal_of(MembershipFactory(user__is_superuser=True))

    def test_run_now_hands_out_at_once_and_keeps_the_plan(self, work, superuser, django_capture_on_commit_callbacks):
        row = schedule(is_enabled=False)

        with django_capture_on_commit_callbacks(execute=True):
            schedule_run(row, principal=superuser)

        row.refresh_from_db()
        assert (row.status, row.next_run_at) == ("queued", NOW)
        assert messages() == [[str(row.pk), "1"]]

    def test_what_runs_is_not_started_again(self, work, superuser):
        with pytest.raises(Conflict, match="is running already"):
            schedule_run(schedule(status="running"), principal=superuser)

    def test_the_sweep_cannot_be_run_or_switched_off(self, superuser):
        row = schedule(name="sweep", cron="", next_run_at=None)

        with pytest.raises(Conflict, match="runs by itself"):
            schedule_run(row, principal=superuser)
        with pytest.raises(Conflict, match="keeps the platform alive"):
            schedule_update(row, principal=superuser, values={"is_enabled": False})

    def test_switching_off_and_on_moves_the_next_run(self, work, superuser):
        row = schedule_update(schedule(), principal=superuser, values={"is_enabled": False})
        assert row.next_run_at is None

        row = schedule_update(row, principal=superuser, values={"is_enabled": True})
        assert timezone.now() < row.next_run_at <= timezone.now() + timedelta(hours=1)

    @pytest.mark.parametrize(
        "values, field",
        [
            ({"cron": "every day"}, "cron"),
            ({"cron": "0 0 30 2 *"}, "cron"),
            ({"zone": "Atlantis"}, "zone"),
        ],
    )
    def test_a_plan_that_cannot_be_is_refused_and_nothing_changes(self, work, superuser, values, field):
        row = schedule()

        with pytest.raises(ValidationError) as refusal:
            schedule_update(row, principal=superuser, values=values)

        assert list(refusal.value.message_dict) == [field]
        row.refresh_from_db()
        assert (row.cron, row.zone) == ("0 * * * *", "UTC")

    def test_only_superusers_may(self, work):
        admin = principal_of(MembershipFactory(role="admin"))

        with pytest.raises(PermissionRefused, match="Only a superuser"):
            schedule_run(schedule(), principal=admin)

    def test_two_of_one_name_are_refused(self):
        schedule()

        with pytest.raises(ValidationError):
            Schedule(name="counting", cron="0 * * * *").full_clean()


@pytest.mark.django_db
class TestDoctor:
    def test_a_platform_that_ticks_is_well(self):
        schedules_ensure()
        tasks.tick()

        assert [(one.level, one.detail) for one in schedule_findings()] == [
            ("ok", f"{len(RECURRING.names())}, none failed the last time")
        ]

    def test_no_tick_and_a_failed_schedule_are_said(self, work):
        schedule(outcome="failed", error="The bucket is full.")

        assert [(one.level, one.detail) for one in schedule_findings()] == [
            ("warning", "nothing has ticked yet"),
            ("warning", "counting: The bucket is full."),
        ]

    def test_an_old_tick_is_said_with_its_time(self):
        schedule(name="sweep", cron="", next_run_at=None, finished_at=NOW - timedelta(days=9000))

        assert next(schedule_findings()).detail == "the last tick was at 2001-10-10 12:00 UTC"
