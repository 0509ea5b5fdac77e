"""The end of a run: one transaction, one terminal event, whatever happens around it."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core import lifecycle
from core.api.problems import problem_of
from core.compiled import Compiled, execute
from core.compiled_rows import Update
from core.database import in_database
from core.faults import fault
from observability.choices import RunStatus
from observability.models import Run
from observability.plain import plain, plain_text
from observability.runs import store
from observability.runs.events import Event, EventName, NumberedEvent, numbered
from observability.runs.work import Closing, Ending, Work
from observability.tracing import TraceRecorder

logger = logging.getLogger(__name__)

# A database that is away is waited for: less than the run's lease lasts, and less than a process has to end.
PATIENCE_SECONDS = 45.0
PATIENCE_AT_SHUTDOWN_SECONDS = 8.0
PAUSE_SECONDS = 0.5

UPDATE_RUN = Update(Run)


@dataclass(frozen=True)
class Unclosed:
    """A run whose engine has ended. unstored: its events that the database lacks; seq: the number of its last event
    to come. close is the work's, or a poorer one when that cannot be stored."""

    run: Run
    work: Work
    ending: Ending
    unstored: Sequence[NumberedEvent]
    seq: int
    poor: bool = False

    def closing(self, run: Run) -> Closing:
        if not self.poor:
            return self.work.close(run)
        content = self.work.content()
        return Closing({"content": content, "citations": []}, content, complete=False)


async def close(unclosed: Unclosed) -> NumberedEvent:
    """Store the end of a run and answer its terminal event.

    A database that is away is tried again for a while; then the readers get a failure, and the sweeper the row.
    """
    began = time.monotonic()
    while True:
        try:
            return await in_database(close_row, unclosed)
        except (OperationalError, InterfaceError) as error:
            patience = PATIENCE_AT_SHUTDOWN_SECONDS if lifecycle.stopping() else PATIENCE_SECONDS
            if time.monotonic() - began > patience:
                return _failed(unclosed, error)
            await asyncio.sleep(PAUSE_SECONDS)
        except Exception as error:  # what an engine's service raises is recorded, and less is stored instead
            if unclosed.poor:
                return _failed(unclosed, error)
            logger.error("run.poorly_closed", exc_info=error, extra={"run_id": str(unclosed.run.pk)})
            unclosed = replace(unclosed, ending=Ending(RunStatus.FAILED, problem=problem_of(error)), poor=True)


def _failed(unclosed: Unclosed, error: BaseException) -> NumberedEvent:
    logger.error("run.not_closed", exc_info=error, extra={"run_id": str(unclosed.run.pk)})
    return numbered(unclosed.run.pk, unclosed.seq, Event(EventName.RUN_FAILED, {"problem": problem_of(error)}))


@Compiled
def _locked(pk: Any) -> "QuerySet[Run]":
    return Run._unscoped.select_for_update().filter(pk=pk)


@transaction.atomic
def close_row(unclosed: Unclosed) -> NumberedEvent:
    """Content, citations, usage, trace, status and last event, in one transaction.

    A run that was ended already, by an earlier try whose commit was not acknowledged or by the sweeper, stays so.
    """
    run = _locked.first(pk=unclosed.run.pk)
    if run is None:
        raise Run.DoesNotExist(f"There is no run {unclosed.run.pk}.")
    if run.status != RunStatus.RUNNING:
        return _as_ended(run, unclosed.seq)
    ending = unclosed.ending
    run.trace = unclosed.work.recorder.save(run, failed=ending.status is RunStatus.FAILED)
    fault("run.usage_stored")
    closing = unclosed.closing(run)
    ends_early = ending.status is RunStatus.COMPLETED and not closing.complete
    run.finish_reason = ending.finish_reason or closing.finish_reason
    run.content, run.problem = plain_text(closing.content), ending.problem
    run.resolution, run.model = closing.resolution, closing.model
    answer = {**closing.answer, "finish_reason": run.finish_reason or None}
    if "usage" in answer:
        answer["usage"] = {**answer["usage"], **cost_of(unclosed.work.recorder)}
    status = RunStatus.INCOMPLETE if ends_early else ending.status
    return end_row(run, status, answer, unclosed.seq, unclosed.unstored)


def end_row(
    run: Run, status: RunStatus, answer: dict[str, Any], seq: int, unstored: Sequence[NumberedEvent] = ()
) -> NumberedEvent:
    """Move a locked, running run to its end and store its terminal event as number `seq`, behind those not stored."""
    run.move_to(status)
    run.finished_at = timezone.now()
    run.duration_ms = max(0, int((run.finished_at - run.started_at).total_seconds() * 1000))
    run.answer = plain(answer_of(run, answer))
    run.last_seq, run.lease_expires_at = seq, None
    terminal = numbered(run.pk, seq, _terminal(run))
    execute(store.insertion(run, [*unstored, terminal]), UPDATE_RUN.filled(run))
    return terminal


def answer_of(run: Run, answer: dict[str, Any]) -> dict[str, Any]:
    """The whole answer object: what the run knows and what its engine adds."""
    return {
        "id": str(run.pk),
        "kind": run.kind,
        "status": run.status,
        "variant": run.variant,
        "conversation_id": None,
        "message_id": None,
        "trace_id": str(run.trace_id) if run.trace_id else None,
        "duration_ms": run.duration_ms,
        **answer,
    }


def cost_of(recorder: TraceRecorder) -> dict[str, Any]:
    """What the run cost, over all its calls; null where that is not known or not of one currency."""
    total = recorder.total()
    return {"cost": None if total.amount is None else f"{total.amount:f}", "currency": total.currency}


def _terminal(run: Run) -> Event:
    if run.status == RunStatus.FAILED:
        return Event(EventName.RUN_FAILED, {"problem": run.problem, "answer": run.answer})
    name = EventName.RUN_CANCELLED if run.status == RunStatus.CANCELLED else EventName.RUN_COMPLETED
    return Event(name, {"answer": run.answer})


def _as_ended(run: Run, seq: int) -> NumberedEvent:
    return numbered(run.pk, seq, _terminal(run))
