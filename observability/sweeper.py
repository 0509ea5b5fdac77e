"""Nothing is stuck: what lost its holder is taken up again, what was never published is published."""

import logging
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.faults import fault
from core.queue import Queue, enqueue
from observability.choices import JobStatus, RunStatus
from observability.leases import release
from observability.models import Job, Run, RunEvent
from observability.runs.events import EventName
from observability.runs.live import answer_of
from observability.services import job_end

logger = logging.getLogger(__name__)

MAX_LOST_LEASES = 20
UNPUBLISHED = timedelta(seconds=30)
BATCH = 500


@dataclass(frozen=True)
class SweepResult:
    """How many jobs were taken from dead holders, how many were published again, how many runs were closed."""

    requeued: int
    published: int
    runs_closed: int


def sweep() -> SweepResult:
    """One pass. Several at once are safe: rows are claimed with SKIP LOCKED."""
    return SweepResult(_take_from_the_dead(), _publish_forgotten(), _close_dead_runs())


@transaction.atomic
def _take_from_the_dead() -> int:
    dead = Job._unscoped.filter(status=JobStatus.RUNNING, lease_expires_at__lt=timezone.now())
    jobs = list(dead.select_for_update(skip_locked=True)[:BATCH])
    for job in jobs:
        job.attempts = max(job.attempts - 1, 0)
        job.lost_leases += 1
        if job.lost_leases > MAX_LOST_LEASES:
            job_end(job, JobStatus.FAILED, code="worker_lost", reason="Its worker died 20 times in a row.")
        else:
            release(job)
        logger.warning("job.requeued", extra={"job_id": str(job.pk), "lost_leases": job.lost_leases})
        job.save()
        fault("sweep.requeued")
    return len(jobs)


@transaction.atomic
def _publish_forgotten() -> int:
    now = timezone.now()
    forgotten = Job._unscoped.filter(status=JobStatus.PENDING, available_at__lte=now).filter(
        Q(published_at__isnull=True) | Q(published_at__lt=now - UNPUBLISHED, available_at__lt=now - UNPUBLISHED)
    )
    jobs = list(forgotten.select_for_update(skip_locked=True)[:BATCH])
    for job in jobs:
        job.published_at = now
        job.save(update_fields=["published_at"])
        enqueue(job.task, str(job.pk), queue=Queue(job.queue))
    return len(jobs)


@transaction.atomic
def _close_dead_runs() -> int:
    dead = Run._unscoped.filter(status=RunStatus.RUNNING, lease_expires_at__lt=timezone.now())
    runs = list(dead.select_for_update(skip_locked=True)[:BATCH])
    for run in runs:
        run.move_to(RunStatus.INCOMPLETE)
        run.finish_reason = "process_lost"
        run.finished_at = timezone.now()
        run.duration_ms = int((run.finished_at - run.started_at).total_seconds() * 1000)
        run.answer = answer_of(run, {"finish_reason": run.finish_reason, "content": run.content, "citations": []})
        seq = run.last_seq + 1
        data = {"run_id": str(run.pk), "seq": seq, "answer": run.answer}
        RunEvent._unscoped.create(
            workspace_id=run.workspace_id, run=run, seq=seq, event=EventName.RUN_COMPLETED.value, data=data
        )
        run.last_seq = seq
        run.lease_expires_at = None
        run.save()
    return len(runs)
