"""The worker's hold on a job: a lease that a heartbeat renews, a fencing token that a successor raises.

A job is executed by whoever holds its lease. A process that dies stops renewing it, and the sweeper gives the job to
another. A process that was only slow finds at its next check, and at the latest in its last transaction, that the token
is no longer its own. A process that is told to end (SIGTERM) gives its job back at once.
"""

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.selectors import may_work
from core.context import logged_with
from core.faults import fault
from core.metrics import JOBS
from core.queue import Queue, enqueue
from observability.budgets.applicable import budgets_of
from observability.choices import JobStatus
from observability.models import Job
from observability.services import job_delay, job_end
from observability.tracing import TraceRecorder, recording

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
USER_LEFT = "Who asked for it may not work here any more. A member can retry it."


class PermanentFailure(Exception):
    """The job cannot succeed however often it is tried. `reason` is for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class TransientFailure(PermanentFailure):
    """The attempt failed for a cause that may pass; after three it is the job's reason."""


class LeaseLost(Exception):
    """Another process holds this job now."""


class JobCancelled(Exception):
    """Somebody asked to cancel the job."""


class WorkerStopping(BaseException):
    """This process was told to end while it worked; no failure of the work, so nothing may swallow it."""


@dataclass
class LeasedJob:
    """A job that this process holds. left_as: the job's status when the process let go of it; lost without a word."""

    job: Job
    token: int
    recorder: TraceRecorder
    left_as: str = "lost"

    def check(self) -> None:
        """Raise LeaseLost or JobCancelled when the work should stop."""
        row = Job._unscoped.filter(pk=self.job.pk).values_list("lease_token", "status", "cancel_requested_at").first()
        self._judge(row)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """A transaction that only the holder can commit: the job's row is locked and its token compared."""
        with transaction.atomic():
            rows = Job._unscoped.select_for_update().filter(pk=self.job.pk)
            self._judge(rows.values_list("lease_token", "status", "cancel_requested_at").first())
            yield

    def _judge(self, row: "tuple[int, str, object] | None") -> None:
        if row is None or row[0] != self.token or row[1] != JobStatus.RUNNING:
            raise LeaseLost(str(self.job.pk))
        if row[2] is not None:
            raise JobCancelled(str(self.job.pk))

    def progress(self, done: int, total: int | None = None) -> None:
        """Show how far the work is, and store what it has spent."""
        values = {"progress_done": done, **({} if total is None else {"progress_total": total})}
        Job._unscoped.filter(pk=self.job.pk, lease_token=self.token).update(**values)
        self.recorder.save_usage()


def lease_time() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


def run_leased(job_id: uuid.UUID, work: Callable[[LeasedJob], None]) -> None:
    """Execute a job if it is free: lease it, work, and write how it ended. Delivered twice, it runs once."""
    leased: LeasedJob | None = None
    stopping = False
    with _told_to_stop():
        try:
            leased = _claim(job_id)
            if leased is not None:
                fault("job.leased")
                with _logged(leased), _heartbeat(leased), recording(leased.recorder):
                    _execute(leased, work)
        except WorkerStopping:
            stopping = True
    if leased is not None:
        _leave(leased, stopping)
    if stopping:
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _logged(leased: LeasedJob) -> Iterator[None]:
    """Lines of the attempt carry its ids; its end is a line and a count, whatever it was."""
    job, began = leased.job, time.perf_counter()
    with logged_with(job_id=job.pk, trace_id=leased.recorder.id, workspace=job.workspace_id):
        try:
            yield
        finally:
            told = {"kind": job.kind, "status": leased.left_as, "attempt": job.attempts}
            logger.info("job.attempt_ended", extra={**told, "duration_ms": round((time.perf_counter() - began) * 1000)})
            JOBS.labels(job.kind, leased.left_as).inc()


def _leave(leased: LeasedJob, stopping: bool) -> None:
    """Store the trace of the attempt; what was interrupted goes back to the queue."""
    if stopping:
        connection.close()  # the signal may have struck in the middle of a query
    try:
        if stopping:
            _give_back(leased)
        if leased.recorder.spans or leased.recorder.usage:
            leased.recorder.save()
    except DatabaseFailure:
        logger.exception("job.trace_lost")


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Within the block, SIGTERM raises WorkerStopping. Only the main thread can hear it; others work as always."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: it must not strike while the job is given back
        raise WorkerStopping

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _execute(leased: LeasedJob, work: Callable[[LeasedJob], None]) -> None:
    try:
        work(leased)
        _finish(leased, JobStatus.SUCCEEDED)
        fault("job.done")
    except LeaseLost:
        logger.warning("job.lease_lost")
    except JobCancelled:
        _finish(leased, JobStatus.CANCELLED, "cancelled", "Cancelled while it ran.")
    except TransientFailure as failure:
        _again_or_failed(leased, failure.code, failure.reason)
    except PermanentFailure as failure:
        _finish(leased, JobStatus.FAILED, failure.code, failure.reason)
    except SoftTimeLimitExceeded:
        _again_or_failed(leased, "timed_out", "It took longer than a task may.")
    except Exception as error:  # whatever the work raises is recorded on the job and logged, and may be tried again
        logger.exception("job.attempt_failed")
        _again_or_failed(leased, "internal_error", f"Unexpected {type(error).__name__}; the log has the details.")


@transaction.atomic
def _claim(job_id: uuid.UUID) -> LeasedJob | None:
    free = Job._unscoped.filter(pk=job_id, status=JobStatus.PENDING, available_at__lte=timezone.now())
    job: Job | None = free.select_for_update(skip_locked=True).first()
    if job is None:
        return None
    if job.created_by_id is not None and not may_work(job.created_by_id, job.workspace_id):
        job_end(job, JobStatus.CANCELLED, code="user_left", reason=USER_LEFT)
        job.save()
        return None
    job.move_to(JobStatus.RUNNING)
    job.attempts += 1
    job.lease_token += 1
    job.started_at = job.started_at or timezone.now()
    job.save()
    _renew(job.pk, job.lease_token)
    about = {"magnet.job.id": job.pk, "magnet.job.attempt": job.attempts, "magnet.subject.id": job.subject_id}
    recorder = TraceRecorder(
        job.title,
        job.kind,
        job.workspace_id,
        job.created_by_id,
        job.key_id,
        attributes=about,
        budgets=budgets_of(job.workspace_id, key_id=job.key_id, target=None),
    )
    return LeasedJob(job, job.lease_token, recorder)


def _renew(job_id: uuid.UUID, token: int) -> None:
    """By the database's clock, which all processes share."""
    held = Job._unscoped.filter(pk=job_id, lease_token=token, status=JobStatus.RUNNING)
    held.update(heartbeat_at=Now(), lease_expires_at=Now() + lease_time())


@contextmanager
def _heartbeat(leased: LeasedJob) -> Iterator[None]:
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(leased, stop), name=f"heartbeat {leased.job.pk}", daemon=True)
    heart.start()
    try:
        yield
    finally:
        stop.set()
        heart.join(timeout=5)


def _beat(leased: LeasedJob, stop: threading.Event) -> None:
    """Renew the lease each quarter of its time, on a connection of this thread's own."""
    try:
        while not stop.wait(settings.JOB_LEASE_SECONDS / 4):
            try:
                _renew(leased.job.pk, leased.token)
            except DatabaseFailure:
                logger.warning("job.heartbeat_failed")
                connection.close()
    finally:
        connection.close()


@contextmanager
def _held(leased: LeasedJob) -> Iterator[Job | None]:
    """The job's locked row while it is still ours, else None."""
    if connection.connection is not None and not connection.in_atomic_block and not connection.is_usable():
        connection.close()  # a database that was restarted meanwhile is asked anew
    with transaction.atomic():
        rows = Job._unscoped.select_for_update()
        job = rows.filter(pk=leased.job.pk, lease_token=leased.token, status=JobStatus.RUNNING).first()
        yield job
        leased.left_as = job.status if job is not None else "lost"


def _finish(leased: LeasedJob, status: JobStatus, code: str = "", reason: str = "") -> None:
    with _held(leased) as job:
        if job is not None:
            job_end(job, status, code=code, reason=reason)
            job.save()


def _again_or_failed(leased: LeasedJob, code: str, reason: str) -> None:
    with _held(leased) as job:
        if job is None:
            return
        if job.cancel_requested_at is not None:
            job_end(job, JobStatus.CANCELLED, code="cancelled", reason="Cancelled while it ran.")
        elif job.attempts >= MAX_ATTEMPTS:
            job_end(job, JobStatus.FAILED, code=code, reason=f"{reason} Tried {job.attempts} times.")
        else:
            job.reason_code, job.reason = code, reason
            release(job, delay=job_delay(job))
        job.save()


def _give_back(leased: LeasedJob) -> None:
    """Back into the queue as if it had not begun: the process ends, the work is not to blame."""
    with _held(leased) as job:
        if job is not None:
            job.attempts = max(job.attempts - 1, 0)
            release(job)
            job.save()
            logger.info("job.given_back", extra={"job_id": str(job.pk)})


def release(job: Job, *, delay: timedelta = timedelta()) -> None:
    """Put a locked job back into the queue. Saving is the caller's."""
    job.move_to(JobStatus.PENDING)
    job.lease_expires_at = None
    job.available_at = timezone.now() + delay
    job.published_at = timezone.now()
    enqueue(job.task, str(job.pk), queue=Queue(job.queue), delay=delay)
