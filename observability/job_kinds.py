"""What the apps above register for their jobs: what happens to the subject when a job ends badly or is retried."""

from collections.abc import Callable
from dataclasses import dataclass

from core.registry import Registry
from observability.models import Job


def _nothing(_job: Job) -> None:
    return


@dataclass(frozen=True)
class JobKind:
    """on_failed, on_retry: called inside the transaction that changes the job."""

    name: str
    title: str
    on_failed: Callable[[Job], None] = _nothing
    on_retry: Callable[[Job], None] = _nothing


JOB_KINDS: Registry[JobKind] = Registry("job kind")


def kind_of(job: Job) -> JobKind:
    return JOB_KINDS.get(job.kind) if job.kind in JOB_KINDS else JobKind(job.kind, job.kind)
