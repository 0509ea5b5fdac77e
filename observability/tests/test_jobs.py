"""Jobs: who holds them, how they end, how they begin again."""

import threading
import uuid
from datetime import timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection, transaction
from django.utils import timezone

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.exceptions import Conflict, PermissionRefused
from core.queue import Queue
from core.valkey import sync_client
from observability import leases
from observability.choices import JobStatus, Operation
from observability.job_kinds import JOB_KINDS, JobKind
from observability.leases import (
    JobCancelled,
    LeasedJob,
    LeaseLost,
    PermanentFailure,
    TransientFailure,
    run_leased,
)
from observability.models import Job, Trace, UsageRecord
from observability.services import job_cancel, job_create, job_retry
from observability.tests.factories import JobFactory
from observability.tracing import UsageEntry, record_usage, span

pytestmark = pytest.mark.django_db


@pytest.fixture
def queued():
    """The messages in the queue of the tests' jobs."""
    sync_client().delete("default")
    yield lambda: sync_client().llen("default")
    sync_client().delete("default")


@pytest.fixture
def kind(monkeypatch) -> list[tuple[str, str]]:
    """What the kind of the tests' jobs was told."""
    told: list[tuple[str, str]] = []
    registered = JobKind(
        "tests", "Tests", lambda job: told.append(("failed", job.reason_code)), lambda job: told.append(("retry", ""))
    )
    monkeypatch.setitem(JOB_KINDS._items, "tests", registered)
    return told


@pytest.fixture
def operator():
    return principal_of(MembershipFactory(role=Role.OPERATOR))


def own_job(principal, **values) -> Job:
    return JobFactory(workspace_id=principal.workspace_id, workspace=None, **values)


def raising(error: BaseException):
    def work(_leased: LeasedJob) -> None:
        raise error

    return work


def nothing(_leased: LeasedJob) -> None:
    return


# --- creating


def test_a_job_is_saved_and_its_task_published_after_the_commit(operator, queued, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        job = job_create(
            workspace_id=operator.workspace_id,
            kind="tests",
            task="tests.work",
            queue=Queue.DEFAULT,
            title="x" * 400,
            actor=operator.user,
            total=7,
            unit="passages",
        )
        assert queued() == 0

    assert queued() == 1
    job.refresh_from_db()
    assert (job.status, job.attempts, len(job.title), job.created_by) == (JobStatus.PENDING, 0, 300, operator.user)
    assert (job.progress_total, job.progress_unit) == (7, "passages")


def test_a_job_that_is_rolled_back_is_never_published(operator, queued, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        job_create(workspace_id=operator.workspace_id, kind="tests", task="tests.work", queue=Queue.DEFAULT, title="x")
        transaction.set_rollback(True)

    assert queued() == 0
    assert not Job._unscoped.exists()


# --- executing


def test_work_that_ends_well_succeeds(kind):
    job = JobFactory()
    seen: list[tuple[str, int]] = []

    def work(leased: LeasedJob) -> None:
        row = Job._unscoped.get(pk=job.pk)
        seen.append((row.status, row.attempts))
        assert row.lease_expires_at > timezone.now() + timedelta(seconds=50)
        leased.check()
        leased.progress(4, 9)

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert seen == [(JobStatus.RUNNING, 1)]
    assert (job.status, job.lease_token, job.lease_expires_at) == (JobStatus.SUCCEEDED, 1, None)
    assert (job.progress_done, job.progress_total) == (4, 9)
    assert job.finished_at >= job.started_at
    assert kind == []


def test_a_job_delivered_twice_runs_once():
    job = JobFactory()
    calls: list[int] = []

    def work(leased: LeasedJob) -> None:
        calls.append(1)
        run_leased(job.pk, work)

    run_leased(job.pk, work)
    run_leased(job.pk, work)
    run_leased(uuid.uuid4(), work)

    assert calls == [1]


def test_a_job_waits_for_its_time():
    job = JobFactory(available_at=timezone.now() + timedelta(seconds=5))

    run_leased(job.pk, raising(AssertionError("too early")))

    job.refresh_from_db()
    assert (job.status, job.attempts) == (JobStatus.PENDING, 0)


def test_a_permanent_failure_fails_at_once_with_its_reason(kind):
    job = JobFactory()

    run_leased(job.pk, raising(PermanentFailure("encrypted", "The file asks for a password.")))

    job.refresh_from_db()
    assert (job.status, job.reason_code, job.reason) == (
        JobStatus.FAILED,
        "encrypted",
        "The file asks for a password.",
    )
    assert job.attempts == 1
    assert kind == [("failed", "encrypted")]


@pytest.mark.parametrize(
    "error, code, reason",
    [
        (TransientFailure("unavailable", "The provider is away."), "unavailable", "The provider is away."),
        (RuntimeError("secret"), "internal_error", "Unexpected RuntimeError; the log has the details."),
        (SoftTimeLimitExceeded(), "timed_out", "It took longer than a task may."),
    ],
)
def test_three_attempts_then_failed_with_the_reason(
    error, code, reason, kind, queued, django_capture_on_commit_callbacks
):
    job = JobFactory()
    delays = []
    for attempt in (1, 2):
        with django_capture_on_commit_callbacks(execute=True):
            run_leased(job.pk, raising(error))
        job.refresh_from_db()
        assert (job.status, job.attempts, job.reason_code, job.reason) == (JobStatus.PENDING, attempt, code, reason)
        assert queued() == attempt
        delays.append(round((job.available_at - timezone.now()).total_seconds()))
        Job._unscoped.update(available_at=timezone.now())

    run_leased(job.pk, raising(error))

    job.refresh_from_db()
    assert delays == [5, 10]
    assert (job.status, job.attempts) == (JobStatus.FAILED, 3)
    assert (job.reason_code, job.reason) == (code, f"{reason} Tried 3 times.")
    assert kind == [("failed", code)]


def test_a_success_clears_the_reason_of_an_earlier_attempt():
    job = JobFactory(reason_code="unavailable", reason="Away.", attempts=1)

    run_leased(job.pk, nothing)

    job.refresh_from_db()
    assert (job.status, job.reason_code, job.reason) == (JobStatus.SUCCEEDED, "", "")


# --- fencing


def test_a_zombie_finds_at_its_next_check_that_its_job_is_anothers():
    job = JobFactory()
    late: list[str] = []

    def work(leased: LeasedJob) -> None:
        Job._unscoped.filter(pk=job.pk).update(lease_token=2)
        leased.progress(9)
        with pytest.raises(LeaseLost):
            leased.check()
        with pytest.raises(LeaseLost), leased.guard():
            late.append("written")

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert late == []
    assert (job.status, job.progress_done, job.finished_at) == (JobStatus.RUNNING, 0, None)


@pytest.mark.parametrize("error", [None, RuntimeError("x"), PermanentFailure("x", "x"), LeaseLost("x")])
def test_a_zombies_end_changes_nothing(error):
    job = JobFactory()

    def work(_leased: LeasedJob) -> None:
        Job._unscoped.filter(pk=job.pk).update(lease_token=2)
        if error is not None:
            raise error

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert (job.status, job.attempts, job.reason) == (JobStatus.RUNNING, 1, "")


def test_a_job_deleted_under_its_worker_is_lost():
    job = JobFactory()

    def work(leased: LeasedJob) -> None:
        job.delete()
        leased.check()

    run_leased(job.pk, work)

    assert not Job._unscoped.exists()


def test_what_the_guard_wrote_is_kept():
    job = JobFactory()

    def work(leased: LeasedJob) -> None:
        with leased.guard():
            Job._unscoped.filter(pk=job.pk).update(title="Written")

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert job.title == "Written"


# --- cancelling


def test_a_pending_job_is_cancelled_at_once(operator, kind):
    job = own_job(operator)

    cancelled = job_cancel(job, principal=operator)

    assert (cancelled.status, cancelled.reason_code) == (JobStatus.CANCELLED, "cancelled")
    assert kind == [("failed", "cancelled")]
    run_leased(job.pk, raising(AssertionError("it was cancelled")))
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


@pytest.mark.parametrize("stop", [LeasedJob.check, lambda leased: leased.guard().__enter__()])
def test_a_running_job_is_cancelled_at_its_next_step(operator, kind, stop):
    job = own_job(operator)

    def work(leased: LeasedJob) -> None:
        assert job_cancel(job, principal=operator).status == JobStatus.RUNNING
        with pytest.raises(JobCancelled):
            stop(leased)
        raise JobCancelled

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert (job.status, job.reason) == (JobStatus.CANCELLED, "Cancelled while it ran.")
    assert kind == [("failed", "cancelled")]


def test_a_failing_attempt_of_a_cancelled_job_is_the_last(operator):
    job = own_job(operator)

    def work(_leased: LeasedJob) -> None:
        job_cancel(job, principal=operator)
        raise RuntimeError

    run_leased(job.pk, work)

    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_has_ended_cannot_be_cancelled(operator, status):
    job = own_job(operator, status=status)

    with pytest.raises(Conflict):
        job_cancel(job, principal=operator)

    job.refresh_from_db()
    assert (job.status, job.cancel_requested_at) == (status, None)


# --- retrying


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_retry_begins_anew(operator, kind, queued, status, django_capture_on_commit_callbacks):
    job = own_job(
        operator,
        status=status,
        attempts=3,
        lost_leases=20,
        progress_done=5,
        reason_code="x",
        reason="y",
        cancel_requested_at=timezone.now(),
        finished_at=timezone.now(),
    )

    with django_capture_on_commit_callbacks(execute=True):
        job_retry(job, principal=operator)

    job.refresh_from_db()
    assert (job.status, job.attempts, job.lost_leases, job.progress_done) == (JobStatus.PENDING, 0, 0, 0)
    assert (job.reason_code, job.reason, job.cancel_requested_at, job.finished_at) == ("", "", None, None)
    assert queued() == 1
    assert kind == [("retry", "")]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCEEDED])
def test_only_what_ended_badly_is_retried(operator, status):
    job = own_job(operator, status=status, attempts=1)

    with pytest.raises(Conflict):
        job_retry(job, principal=operator)

    job.refresh_from_db()
    assert (job.status, job.attempts) == (status, 1)


@pytest.mark.parametrize("act", [job_cancel, job_retry])
def test_viewers_neither_cancel_nor_retry(act):
    viewer = principal_of(MembershipFactory(role=Role.VIEWER))
    job = own_job(viewer, status=JobStatus.PENDING)

    with pytest.raises(PermissionRefused):
        act(job, principal=viewer)

    job.refresh_from_db()
    assert job.status == JobStatus.PENDING


# --- the trace of an attempt


def spend(tokens: int) -> None:
    with span("embeddings mini", Operation.EMBEDDINGS):
        record_usage(UsageEntry(Operation.EMBEDDINGS, "local", "local", "mini", "mini", input_tokens=tokens))


def test_an_attempt_leaves_its_trace_and_usage(operator):
    job = own_job(operator, created_by=operator.user, title="Ingest a.pdf")

    run_leased(job.pk, lambda _leased: spend(40))

    trace = Trace._unscoped.get()
    assert (trace.name, trace.kind, trace.workspace_id, trace.user) == (
        "Ingest a.pdf",
        "tests",
        operator.workspace_id,
        operator.user,
    )
    assert [one.name for one in trace.spans.all()] == ["embeddings mini"]
    assert [one.input_tokens for one in trace.usage.all()] == [40]


def test_usage_is_stored_with_the_progress_and_not_twice(django_capture_on_commit_callbacks):
    stored: list[int] = []

    def work(leased: LeasedJob) -> None:
        for tokens in (10, 20):
            spend(tokens)
            with django_capture_on_commit_callbacks(execute=True):
                leased.progress(1)
            stored.append(UsageRecord._unscoped.count())
        spend(30)

    run_leased(JobFactory().pk, work)

    assert stored == [1, 2]
    assert sorted(UsageRecord._unscoped.values_list("input_tokens", flat=True)) == [10, 20, 30]
    assert Trace._unscoped.count() == 1


def test_a_failed_attempt_keeps_its_books_too():
    def work(_leased: LeasedJob) -> None:
        spend(5)
        raise RuntimeError

    run_leased(JobFactory().pk, work)

    assert UsageRecord._unscoped.get().input_tokens == 5


def test_work_without_a_model_leaves_no_trace():
    run_leased(JobFactory().pk, nothing)

    assert not Trace._unscoped.exists()


# --- threads


def test_the_lease_can_be_taken_outside_of_the_main_thread():
    thread = threading.Thread(target=lambda: (run_leased(uuid.uuid4(), nothing), connection.close()))

    thread.start()
    thread.join(5)

    assert not thread.is_alive()
    assert leases.lease_time() == timedelta(seconds=60)
