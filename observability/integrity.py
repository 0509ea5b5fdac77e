"""For `manage.py check_integrity`: nothing is stuck, and every run that ended says so once."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, F, Max, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from core.queue import Queue
from observability.choices import JobStatus, RunStatus, ScheduleStatus
from observability.models import Job, Run, Schedule
from observability.runs.events import TERMINAL
from observability.sweeper import forgotten

# What the sweeper has not dealt with so long after it could is not merely under way.
SWEPT = timedelta(minutes=2) / settings.HASTE


def jobs() -> Iterator[str]:
    """Every job is terminal, holds a live lease, or waits with a message in the broker."""
    dead = Job._unscoped.filter(status=JobStatus.RUNNING)
    dead = dead.filter(Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now() - SWEPT))
    for job in dead.iterator():
        yield f"job {job.pk} ({job.title}) runs without a lease"
    for queue in Queue:
        _, lacking = forgotten(queue, SWEPT)
        if lacking:
            yield f"{lacking} jobs of the queue {queue} wait without a message"


def runs() -> Iterator[str]:
    """Every run holds a live lease, or has ended with one terminal event behind events without a gap."""
    running = Run._unscoped.filter(status=RunStatus.RUNNING)
    dead = running.filter(Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now() - SWEPT))
    for pk in dead.values_list("pk", flat=True):
        yield f"run {pk} runs without a lease"
    told = Count("events", filter=Q(events__event__in=[name.value for name in TERMINAL]))
    ended = Run._unscoped.exclude(status=RunStatus.RUNNING).annotate(told=told, last=Max("events__seq"))
    for pk, count in ended.exclude(told=1, last=F("last_seq")).values_list("pk", "told"):
        yield f"run {pk} ended with {count} terminal events, or events behind its end"
    for pk in _young(ended).annotate(count=Count("events")).exclude(count=F("last")).values_list("pk", flat=True):
        yield f"run {pk} has a gap in its events"
    without = _young(ended).filter(answer__isnull=True)
    for pk in without.values_list("pk", flat=True):
        yield f"run {pk} ended without an answer object"


def _young(rows: QuerySet[Run]) -> QuerySet[Run]:
    """Those whose events are all kept still: neither old, nor emptied."""
    rows = rows.filter(emptied_at__isnull=True)
    days: int = settings.RETENTION_DAYS
    return rows.filter(created_at__gt=timezone.now() - timedelta(days=days - 1)) if days else rows


def schedules() -> Iterator[str]:
    """Every schedule waits for its time, or holds a live lease."""
    held = Schedule._unscoped.exclude(status=ScheduleStatus.IDLE)
    dead = held.filter(Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now() - SWEPT))
    for name in dead.values_list("name", flat=True):
        yield f"schedule {name} runs without a lease"
