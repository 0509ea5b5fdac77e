"""Reads of runs, jobs, traces and schedules, by who may see them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Max, QuerySet, Sum
from django.utils import timezone

from core.access import Permission, Principal
from core.doctor import Finding, Level
from core.sharing import hidden_ids
from observability.choices import Outcome
from observability.models import Job, Run, Schedule, Trace, UsageRecord

# A tick comes each 15 s; without one for so long, nothing recurring happens.
TICK_MISSED = timedelta(minutes=2)


def runs_of(principal: Principal) -> QuerySet[Run]:
    """Runs of the workspace; somebody who is no viewer sees their own, of what is shared with them.

    A key that names tools sees runs of those alone.
    """
    rows: QuerySet[Run] = Run.objects.for_workspace(principal.workspace_id)
    if principal.tools:
        rows = rows.filter(target_id__in=principal.tools)
    for hidden in hidden_ids(principal):
        rows = rows.exclude(target_id__in=hidden)
    return _own_or_all(rows, principal)


def traces_of(principal: Principal) -> QuerySet[Trace]:
    """The same for traces."""
    rows: QuerySet[Trace] = Trace.objects.for_workspace(principal.workspace_id)
    runs = Run.objects.for_workspace(principal.workspace_id).filter(trace__isnull=False)
    if principal.tools:
        rows = rows.filter(pk__in=runs.filter(target_id__in=principal.tools).values("trace"))
    for hidden in hidden_ids(principal):
        rows = rows.exclude(pk__in=runs.filter(target_id__in=hidden).values("trace"))
    return _own_or_all(rows, principal)


def jobs_of(principal: Principal) -> QuerySet[Job]:
    """Jobs of the workspace."""
    jobs: QuerySet[Job] = Job.objects.for_workspace(principal.workspace_id)
    return jobs.select_related("created_by")


def last_heartbeat() -> datetime | None:
    """When a worker last said that it works on a job, in any workspace: whether somebody works at all."""
    found: datetime | None = Job._unscoped.aggregate(latest=Max("heartbeat_at"))["latest"]
    return found


def _own_or_all(rows: QuerySet[Any], principal: Principal) -> QuerySet[Any]:
    return rows if principal.allows(Permission.READ) else rows.filter(user_id=principal.user_id)


def may_read_content(run: Run | Trace, principal: Principal) -> bool:
    """What was asked and answered is for its author and for operators; a viewer sees that it happened."""
    return principal.allows(Permission.MANAGE) or run.user_id == principal.user_id


def system_schedules() -> QuerySet[Schedule]:
    """The platform's own schedules, which belong to no workspace."""
    rows: QuerySet[Schedule] = Schedule._unscoped.filter(workspace__isnull=True)
    return rows


def schedule_findings() -> Iterator[Finding]:
    """What `manage.py doctor` says of schedules: whether somebody ticks, and what failed the last time."""
    rows = {schedule.name: schedule for schedule in system_schedules()}
    ticked = rows["sweep"].finished_at if "sweep" in rows else None
    if ticked is None or timezone.now() - ticked > TICK_MISSED:
        when = f"the last tick was at {ticked:%Y-%m-%d %H:%M} UTC" if ticked else "nothing has ticked yet"
        yield Finding("Schedules", Level.WARNING, when, "Start the platform; if it runs, read worker.log.")
    failed = [schedule for schedule in rows.values() if schedule.outcome == Outcome.FAILED]
    for schedule in failed:
        yield Finding("Schedules", Level.WARNING, f"{schedule.name}: {schedule.error}", "See Schedules in the admin.")
    if not failed:
        yield Finding("Schedules", Level.OK, f"{len(rows)}, none failed the last time")


def costs_of(usage: QuerySet[UsageRecord]) -> list[tuple[str, Decimal]]:
    """What these calls cost, by currency: amounts of two currencies have no sum. Calls without a price are left out."""
    priced = usage.order_by("currency").filter(cost__isnull=False)
    sums = priced.values_list("currency").annotate(total=Sum("cost"))
    return [(currency, total) for currency, total in sums]
