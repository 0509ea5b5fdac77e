"""Writes of jobs and runs that a door asks for. The worker's side of a job is `leases.py`."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.access import Permission, Principal
from core.audit import audit, difference, snapshot
from core.compiled_rows import Insert
from core.exceptions import Conflict, PermissionRefused
from core.queue import Queue, enqueue
from observability.choices import JobStatus, RunKind, ScheduleStatus
from observability.job_kinds import kind_of
from observability.models import Job, Run, Schedule
from observability.plain import plain
from observability.runs.live import PROCESS
from observability.runs.store import lease_time
from observability.scheduling import hand_out, next_time
from observability.tracing import level_of

INSERT_RUN = Insert(Run)
SCHEDULE_FIELDS = {"cron", "zone", "is_enabled"}


@transaction.atomic
def job_create(  # noqa: PLR0913  # the columns of a job, by keyword
    *,
    workspace_id: uuid.UUID,
    kind: str,
    task: str,
    queue: Queue,
    title: str,
    subject_id: uuid.UUID | None = None,
    actor: Any = None,
    key_id: uuid.UUID | None = None,
    total: int = 0,
    unit: str = "",
) -> Job:
    """Save a pending job and publish its task on commit."""
    job = Job(
        workspace_id=workspace_id,
        kind=kind,
        task=task,
        queue=queue.value,
        title=title[:300],
        subject_id=subject_id,
        created_by=actor,
        key_id=key_id,
        progress_total=total,
        progress_unit=unit,
    )
    job.full_clean()
    job.published_at = timezone.now()
    job.save()
    enqueue(task, str(job.pk), queue=queue)
    return job


@transaction.atomic
def job_retry(job: Job, *, principal: Principal) -> Job:
    """Start a failed or cancelled job anew, with fresh attempts; who retries it stands for it from now on.

    Raises Conflict for any other.
    """
    principal.require(Permission.INGEST)
    locked: Job = Job._unscoped.select_for_update().get(pk=job.pk)
    if locked.status not in {JobStatus.FAILED, JobStatus.CANCELLED}:
        raise Conflict(f"This job is {locked.status}; only a failed or cancelled one can be retried.")
    locked.move_to(JobStatus.PENDING)
    locked.created_by, locked.key_id = principal.user or locked.created_by, principal.key_id
    locked.attempts = locked.lost_leases = locked.progress_done = 0
    locked.reason = locked.reason_code = ""
    locked.cancel_requested_at = locked.finished_at = locked.started_at = None
    locked.available_at = locked.published_at = timezone.now()
    locked.save()
    kind_of(locked).on_retry(locked)
    enqueue(locked.task, str(locked.pk), queue=Queue(locked.queue))
    return locked


@transaction.atomic
def job_cancel(job: Job, *, principal: Principal) -> Job:
    """Cancel a job: a pending one at once, a running one at its next step. One that has ended is a Conflict."""
    principal.require(Permission.INGEST)
    locked: Job = Job._unscoped.select_for_update().get(pk=job.pk)
    if Job.is_terminal(locked.status) or locked.status in {JobStatus.FAILED, JobStatus.CANCELLED}:
        raise Conflict(f"This job is {locked.status} already.")
    locked.cancel_requested_at = timezone.now()
    if locked.status == JobStatus.PENDING:
        job_end(locked, JobStatus.CANCELLED, code="cancelled", reason="Cancelled before it began.")
    locked.save()
    return locked


def job_end(job: Job, status: JobStatus, *, code: str = "", reason: str = "") -> None:
    """Move a locked job to its end and tell its kind when it ended badly. Saving is the caller's."""
    job.move_to(status)
    job.finished_at = timezone.now()
    job.lease_expires_at = None
    job.reason_code, job.reason = code[:50], reason
    if status in {JobStatus.FAILED, JobStatus.CANCELLED}:
        kind_of(job).on_failed(job)


def job_delay(job: Job) -> timedelta:
    """How long a failed attempt waits for the next: 5 s, then 10 s."""
    return timedelta(seconds=5 * 2 ** max(job.attempts - 1, 0))


def run_create(*, principal: Principal, kind: RunKind, target: Any, variant: Any, given: dict[str, Any]) -> Run:
    """Save a running run before anything is spent. `given` is what the caller sent."""
    run = Run(
        workspace_id=principal.workspace_id,
        kind=kind,
        target_id=target.pk,
        target_slug=target.slug,
        variant=variant.number,
        variant_id=variant.pk,
        input=plain(given),
        user_id=principal.user_id,
        key_id=principal.key_id,
        capture=level_of(variant),
        process=PROCESS,
        lease_expires_at=timezone.now() + lease_time(),
    )
    INSERT_RUN(run)
    return run


@transaction.atomic
def schedule_run(schedule: Schedule, *, principal: Principal) -> None:
    """Run a schedule now, whether it is on or off. Raises Conflict when it runs, or runs with every tick anyhow."""
    locked = _own_schedule(schedule, principal)
    if not locked.cron:
        raise Conflict("This runs by itself every few seconds.")
    if locked.status != ScheduleStatus.IDLE:
        raise Conflict("This schedule is running already.")
    hand_out(locked, timezone.now())


@transaction.atomic
def schedule_update(schedule: Schedule, *, principal: Principal, values: Mapping[str, Any]) -> Schedule:
    """Change cron, zone or is_enabled; the next run follows. Raises ValidationError, Conflict for the tick's own."""
    locked = _own_schedule(schedule, principal)
    if not locked.cron:
        raise Conflict("This runs every few seconds and keeps the platform alive; it cannot be changed.")
    before = snapshot(locked)
    for name in SCHEDULE_FIELDS & values.keys():
        setattr(locked, name, values[name])
    locked.full_clean()
    locked.next_run_at = next_time(locked, timezone.now())
    locked.save()
    audit("update", locked, changes=difference(locked, before, sorted(SCHEDULE_FIELDS)))
    return locked


def _own_schedule(schedule: Schedule, principal: Principal) -> Schedule:
    """The locked row; the platform's schedules are its superusers' alone."""
    if not principal.user.is_superuser:
        raise PermissionRefused("Only a superuser may do this: the schedule is the platform's, not the workspace's.")
    locked: Schedule = Schedule._unscoped.select_for_update(of=("self",)).get(pk=schedule.pk)
    return locked
