"""Schedules: what is due is handed out once, however many schedulers tick, and a run that was lost is handed out again.

A tick claims due rows with SKIP LOCKED, moves each to its next time and sends a task for it. The task begins only if
the row still carries the token that it was sent with. A run that does not report back (its message or its process was
lost) is handed out again when its lease ends.

Runs that were missed while the platform was down are made up for once, at the first tick, not once for each.
"""

import logging
import time
import uuid
from datetime import datetime, timedelta
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core.exceptions import MagnetError
from core.faults import fault
from core.queue import enqueue
from core.schedules import LONGEST_SECONDS, RECURRING, next_run
from observability.choices import Outcome, ScheduleStatus
from observability.models import Schedule

logger = logging.getLogger(__name__)

TASK = "observability.tasks.run_schedule"
MAX_LOST = 3
# A message that was not taken up for so long is taken for lost.
TAKEN_UP = timedelta(seconds=120) / settings.HASTE
HELD = timedelta(seconds=LONGEST_SECONDS + 60) / settings.HASTE
PAUSES = (0.1, 1.0, 5.0)
"""In seconds, before the database is told again how a run went."""


def schedules_ensure() -> None:
    """A row for each registered work, and none for what is gone. What an operator has changed stays."""
    now = timezone.now()
    system = Schedule._unscoped.filter(workspace__isnull=True)
    system.exclude(name__in=RECURRING.names()).delete()
    for name, recurring in RECURRING.items():
        first = next_run(recurring.cron, "UTC", now) if recurring.cron else None
        Schedule._unscoped.get_or_create(
            workspace=None, name=name, defaults={"cron": recurring.cron, "next_run_at": first}
        )


def tick(now: datetime | None = None) -> int:
    """Do what every tick does, then hand out what is due; returns how many were handed out. Safe in parallel."""
    for name, recurring in RECURRING.items():
        if not recurring.cron:
            _work(Schedule._unscoped.filter(workspace__isnull=True, name=name), name)
    return hand_out_due(now or timezone.now())


@transaction.atomic
def hand_out_due(now: datetime) -> int:
    """Claim each row that is due, or whose run was lost, and send its task on commit."""
    due = Q(status=ScheduleStatus.IDLE, is_enabled=True, next_run_at__lte=now)
    lost = Q(lease_expires_at__lt=now) & ~Q(status=ScheduleStatus.IDLE)
    claimed = list(Schedule._unscoped.filter(due | lost).select_for_update(skip_locked=True, of=("self",)))
    return sum(_claim(schedule, now) for schedule in claimed)


def _claim(schedule: Schedule, now: datetime) -> bool:
    """Hand a locked row out; False for one whose runs were lost too often, which then waits for its next time."""
    schedule.lost = schedule.lost + 1 if schedule.status != ScheduleStatus.IDLE else 0
    if schedule.lost > MAX_LOST:
        logger.error("schedule.lost", extra={"schedule": schedule.name})
        ended = _ended(error=f"Its process was lost {schedule.lost} times.")
        Schedule._unscoped.filter(pk=schedule.pk).update(**ended)
        return False
    if schedule.next_run_at is not None and schedule.next_run_at <= now:
        schedule.next_run_at = next_time(schedule, now)
    hand_out(schedule, now)
    return True


def hand_out(schedule: Schedule, now: datetime) -> None:
    """Send the task of a locked row on commit, and save the row."""
    schedule.status = ScheduleStatus.QUEUED
    schedule.token += 1
    schedule.lease_expires_at = now + TAKEN_UP
    schedule.save()
    enqueue(TASK, str(schedule.pk), str(schedule.token))


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """When the schedule is due behind `after`; None while it is off, and for what every tick does."""
    return next_run(schedule.cron, schedule.zone, after) if schedule.cron and schedule.is_enabled else None


def run_schedule(schedule_id: uuid.UUID, token: int) -> bool:
    """Execute a schedule that was handed out with this token; False when it is not, or not any more, ours to run."""
    held = Schedule._unscoped.filter(pk=schedule_id, token=token)
    until = timezone.now() + HELD
    if not held.filter(status=ScheduleStatus.QUEUED).update(status=ScheduleStatus.RUNNING, lease_expires_at=until):
        return False
    fault("schedule.claimed")
    _work(held, held.values_list("name", flat=True).get())
    return True


def _work(rows: QuerySet[Schedule], name: str) -> None:
    """Do the work and write down how it went, unless the row was handed to another process meanwhile."""
    began, started = time.monotonic(), timezone.now()
    count, error = 0, ""
    try:
        if name not in RECURRING:
            raise MagnetError("No part of the platform does this any more.")
        count = RECURRING.get(name).work()
    except SoftTimeLimitExceeded:
        error = f"It took longer than {LONGEST_SECONDS} s; what is left is done the next time."
    except Exception as failure:  # whatever the work raises is logged and stands on the row; the next run tries again
        logger.exception("schedule.failed", extra={"schedule": name})
        known = isinstance(failure, MagnetError)
        error = str(failure) if known else f"Unexpected {type(failure).__name__}; the log has the details."
    fault("schedule.worked")
    took = int((time.monotonic() - began) * 1000)
    _write_down(rows, {**_ended(count=count, error=error), "started_at": started, "duration_ms": took})


def _write_down(rows: QuerySet[Schedule], columns: dict[str, Any]) -> None:
    """Save how a run went, over a new connection when the old one was cut: else the row is held to its lease's end."""
    for pause in PAUSES:
        try:
            rows.update(**columns)
            return
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(pause)
    rows.update(**columns)


def _ended(*, count: int = 0, error: str = "") -> dict[str, Any]:
    """The columns of a run that is over; it failed if there is an error."""
    return {
        "status": ScheduleStatus.IDLE,
        "lease_expires_at": None,
        "lost": 0,
        "finished_at": timezone.now(),
        "outcome": Outcome.FAILED if error else Outcome.SUCCEEDED,
        "count": count,
        "error": error[:300],
        "runs_total": F("runs_total") + 1,
        "failures_total": F("failures_total") + (1 if error else 0),
    }
