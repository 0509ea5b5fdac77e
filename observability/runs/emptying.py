"""Runs whose contents nobody keeps (level none): emptied when they are over and their reader had the time to read.

Until then the run serves its caller like any other: a stream that broke off is resumed, a reader in another process
follows. What stays is what happened: who, when, which variant, how it ended, what it cost.
"""

import logging
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from redis.exceptions import RedisError

from core.valkey import sync_client
from observability.choices import ObservabilityLevel, RunStatus
from observability.models import Run, RunEvent
from observability.runs.events import TERMINAL
from observability.runs.store import stream_key

logger = logging.getLogger(__name__)

# As long as a run goes on without a reader, twice: a caller who lost the connection at the last word comes back in it.
READ_WITHIN = timedelta(seconds=60)
BATCH = 500
KEPT = frozenset(
    {
        "id", "kind", "status", "variant", "conversation_id", "message_id", "trace_id", "duration_ms", "finish_reason",
        "resolution", "usage", "model", "degraded", "timings", "repaired",
    }
)  # fmt: skip
KEPT_OF_PROBLEM = ("type", "title", "status", "code", "instance", "request_id")


def empty_closed() -> int:
    """Empty what is due; returns how many runs. Safe in parallel."""
    due = Run._unscoped.filter(
        capture=ObservabilityLevel.NONE, emptied_at__isnull=True, finished_at__lt=Now() - READ_WITHIN
    ).exclude(status=RunStatus.RUNNING)
    return sum(_empty(pk) for pk in list(due.values_list("pk", flat=True)[:BATCH]))


@transaction.atomic
def _empty(pk: uuid.UUID) -> bool:
    run = Run._unscoped.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk, emptied_at__isnull=True).first()
    if run is None:
        return False
    run.input, run.content = {}, ""
    run.answer = None if run.answer is None else emptied(run.answer)
    run.problem = None if run.problem is None else _problem(run.problem)
    run.emptied_at = Now()
    run.save(update_fields=["input", "content", "answer", "problem", "emptied_at"])
    told = RunEvent._unscoped.filter(run=run)
    ends = [name.value for name in TERMINAL]
    told.exclude(event__in=ends).delete()
    for event in told.filter(event__in=ends):
        event.data = {**emptied(event.data), "run_id": str(pk), "seq": event.seq, "answer": run.answer}
        event.data["problem"] = run.problem
        event.save(update_fields=["data"])
    transaction.on_commit(lambda: _forget_stream(pk))
    return True


def emptied(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer object with the same fields, and nothing of what was said in them."""
    return {name: value if name in KEPT else _nothing(value) for name, value in answer.items()}


def _nothing(value: Any) -> Any:
    return type(value)() if isinstance(value, str | list | dict) else None


def _problem(problem: dict[str, Any]) -> dict[str, Any]:
    """Details may quote what a model said."""
    kept = {name: problem[name] for name in KEPT_OF_PROBLEM if name in problem}
    return {**kept, "detail": str(problem.get("title", ""))}


def _forget_stream(pk: uuid.UUID) -> None:
    try:
        sync_client().delete(stream_key(pk))
    except (RedisError, OSError):
        logger.warning("run.stream_unavailable", extra={"run_id": str(pk)})  # it expires by itself
