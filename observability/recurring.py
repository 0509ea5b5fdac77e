"""Recurring work on what happened: the sweep, the roll-up of usage, and what is deleted after RETENTION_DAYS.

Runs and the sums of usage always stay.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.schedules import Recurring, delete_in_batches, first_id_of
from core.valkey import sync_client
from observability import sweeper
from observability.budgets.holding import release_expired
from observability.models import Job, RunEvent, Trace
from observability.runs.emptying import empty_closed
from observability.runs.events import TERMINAL
from observability.runs.store import STREAM_PREFIX, STREAM_SECONDS
from observability.usage import rollup

ENDED_JOBS = ("succeeded", "failed", "cancelled")


def sweep() -> int:
    """How many jobs, runs and reservations were taken from dead holders, published again, or emptied."""
    result = sweeper.sweep()
    taken = result.requeued + result.runs_closed + release_expired()
    return taken + result.published + empty_closed()


def _old(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those older than RETENTION_DAYS; none when all is kept. Ids tell the time: the primary key finds them."""
    days: int = settings.RETENTION_DAYS
    if not days:
        return rows.none()
    return rows.filter(pk__lt=first_id_of(timezone.now() - timedelta(days=days)))


def remove_old_events() -> int:
    """All but the last event, which carries the answer and ends a replay."""
    told = [name.value for name in TERMINAL]
    return delete_in_batches(_old(RunEvent._unscoped.exclude(event__in=told)))


def remove_old_traces() -> int:
    return delete_in_batches(_old(Trace._unscoped.all()))


def remove_old_jobs() -> int:
    return delete_in_batches(_old(Job._unscoped.filter(status__in=ENDED_JOBS)))


def expire_streams() -> int:
    """Streams of events in Valkey that lost their expiry, when a process died between adding to one and saying so."""
    client = sync_client()
    forgotten = [key for key in client.scan_iter(match=f"{STREAM_PREFIX}*", count=1000) if client.ttl(key) == -1]
    for key in forgotten:
        client.expire(key, STREAM_SECONDS)
    return len(forgotten)


WORK = {
    "sweep": Recurring(
        title=_("Sweep"),
        text=_(
            "Takes up jobs, runs and reservations whose process died, publishes what was never published, and empties "
            "runs of the level none."
        ),
        cron="",
        unit=_("jobs and runs"),
        work=sweep,
    ),
    "old-run-events": Recurring(
        title=_("Remove old run events"),
        text=_("The steps of runs older than RETENTION_DAYS. The runs stay, with their answers."),
        cron="27 3 * * *",
        unit=_("events"),
        work=remove_old_events,
    ),
    "old-traces": Recurring(
        title=_("Remove old traces"),
        text=_("Traces older than RETENTION_DAYS, with their spans. Usage stays."),
        cron="37 3 * * *",
        unit=_("traces"),
        work=remove_old_traces,
    ),
    "old-jobs": Recurring(
        title=_("Remove old jobs"),
        text=_("Jobs that ended and are older than RETENTION_DAYS."),
        cron="47 3 * * *",
        unit=_("jobs"),
        work=remove_old_jobs,
    ),
    "usage-rollup": Recurring(
        title=_("Add up usage"),
        text=_("Adds the calls of models to their hour and day, which the usage page reads."),
        cron="* * * * *",
        unit=_("calls"),
        work=rollup.roll_up,
    ),
    "old-usage-records": Recurring(
        title=_("Remove old usage records"),
        text=_("Single calls older than RETENTION_DAYS that are added up. Their sums stay."),
        cron="57 3 * * *",
        unit=_("calls"),
        work=rollup.remove_old_records,
    ),
    "old-usage-hours": Recurring(
        title=_("Remove old hours of usage"),
        text=_("Sums by the hour that are older than 400 days and RETENTION_DAYS. Sums by the day stay."),
        cron="7 4 * * *",
        unit=_("rows"),
        work=rollup.remove_old_hours,
    ),
    "forgotten-streams": Recurring(
        title=_("Expire forgotten streams"),
        text=_("Live event streams in Valkey that no process looks after any more."),
        cron="7 * * * *",
        unit=_("streams"),
        work=expire_streams,
    ),
}
