"""Nothing is stuck: what lost its holder is taken up again, what was never published is published."""

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from redis.exceptions import RedisError

from core.faults import fault
from core.queue import Queue, enqueue
from core.valkey import sync_client
from observability.choices import JobStatus, RunStatus
from observability.leases import release
from observability.models import Job, Run, RunEvent
from observability.runs import spent, store
from observability.runs.closing import end_row
from observability.runs.events import EventName
from observability.services import job_end

logger = logging.getLogger(__name__)

MAX_LOST_LEASES = 20
BATCH = 500


@dataclass(frozen=True)
class SweepResult:
    """How many jobs were taken from dead holders, how many were published again, how many runs were closed."""

    requeued: int
    published: int
    runs_closed: int


def sweep() -> SweepResult:
    """One pass. Several at once are safe: rows are claimed with SKIP LOCKED, each in a transaction of its own."""
    dead_jobs = Job._unscoped.filter(status=JobStatus.RUNNING, lease_expires_at__lt=Now())
    dead_runs = Run._unscoped.filter(status=RunStatus.RUNNING, lease_expires_at__lt=Now())
    return SweepResult(
        requeued=_each(dead_jobs, _take_from_the_dead),
        published=sum(_publish_forgotten(queue) for queue in Queue),
        runs_closed=_each(dead_runs, _close_dead_run),
    )


def _each(rows: QuerySet[Any], act: Callable[[Any], None]) -> int:
    """Act on each row under its lock. One that fails stays as it is and does not keep the others from their turn."""
    done = 0
    for pk in list(rows.values_list("pk", flat=True)[:BATCH]):
        try:
            done += _one(rows, pk, act)
        except Exception:  # a job kind's hook may raise anything; it is logged, and tried again in the next pass
            logger.exception("sweep.failed", extra={"row": str(pk)})
    return done


@transaction.atomic
def _one(rows: QuerySet[Any], pk: uuid.UUID, act: Callable[[Any], None]) -> bool:
    row = rows.select_for_update(skip_locked=True).filter(pk=pk).first()
    if row is not None:
        act(row)
    return row is not None


def _take_from_the_dead(job: Job) -> None:
    job.attempts = max(job.attempts - 1, 0)
    job.lost_leases += 1
    if job.cancel_requested_at is not None:
        job_end(job, JobStatus.CANCELLED, code="cancelled", reason="Cancelled while it ran.")
    elif job.lost_leases > MAX_LOST_LEASES:
        job_end(job, JobStatus.FAILED, code="worker_lost", reason=f"Its worker died {job.lost_leases} times.")
    else:
        release(job)
    job.save()
    logger.warning("job.requeued", extra={"job_id": str(job.pk), "lost_leases": job.lost_leases})
    fault("sweep.requeued")


def _publish_forgotten(queue: Queue) -> int:
    """Publish what waits for longer than half a minute and has no message in the broker.

    Which job a message is for is not looked up: as many are published as messages lack, those first that were
    published longest ago. One too many does no harm, and a long queue does not grow by waiting.
    """
    rows, lacking = forgotten(queue, timedelta(seconds=settings.UNPUBLISHED_SECONDS))
    if not lacking:
        return 0
    with transaction.atomic():
        jobs = list(rows.select_for_update(skip_locked=True)[: min(lacking, BATCH)])
        for job in jobs:
            enqueue(job.task, str(job.pk), queue=queue)
        Job._unscoped.filter(pk__in=[job.pk for job in jobs]).update(published_at=Now())
    return len(jobs)


def forgotten(queue: Queue, waited: timedelta) -> tuple[QuerySet[Job], int]:
    """The jobs of a queue that have waited for so long since they were published, and how many messages lack."""
    waiting = Job._unscoped.filter(queue=queue.value, status=JobStatus.PENDING, available_at__lte=Now())
    long_ago = Now() - waited
    rows = waiting.filter(Q(published_at__isnull=True) | Q(published_at__lt=long_ago, available_at__lt=long_ago))
    lacking = max(0, waiting.count() - _messages(queue)) if rows.exists() else 0
    return rows.order_by("published_at"), lacking


def _messages(queue: Queue) -> int:
    """How many messages wait in the broker; an unreachable one has none that will be delivered."""
    try:
        return int(sync_client().llen(queue.value))
    except (RedisError, OSError):
        return 0


def _close_dead_run(run: Run) -> None:
    """Keep what its process had said and spent: what is stored, and what it left in Valkey in its last second."""
    tail = store.published_tail(run.pk, run.last_seq)
    store.insert_events(run, tail)
    noted = store.noted_spending(run.pk)
    if noted:
        spent.book(run, noted)
    said = RunEvent._unscoped.filter(run=run, event=EventName.MESSAGE_DELTA.value).order_by("seq")
    text = "".join(str(data.get("text", "")) for data in said.values_list("data", flat=True))
    run.content = max(run.content, text, key=len)
    run.finish_reason = "process_lost"
    answer = {"finish_reason": run.finish_reason, "content": run.content, "citations": []}
    end_row(run, RunStatus.INCOMPLETE, answer, run.last_seq + len(tail) + 1)
    fault("sweep.run_closed")
