"""Reads of runs, jobs and traces, by who may see them."""

from datetime import datetime
from typing import Any

from django.db.models import Max, QuerySet

from core.access import Permission, Principal
from observability.models import Job, Run, Trace


def runs_of(principal: Principal) -> QuerySet[Run]:
    """Runs of the workspace; somebody who is no viewer sees their own."""
    return _own_or_all(Run.objects.for_workspace(principal.workspace_id), principal)


def traces_of(principal: Principal) -> QuerySet[Trace]:
    """The same for traces."""
    return _own_or_all(Trace.objects.for_workspace(principal.workspace_id), principal)


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


def may_read_content(run: Run, principal: Principal) -> bool:
    """What was asked and answered is for its author and for operators; a viewer sees that it happened."""
    return principal.allows(Permission.MANAGE) or run.user_id == principal.user_id
