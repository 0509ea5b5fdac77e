"""Runs as tasks of this process: they do not depend on the socket that asked for them.

A run is executed by the process that accepted it. Its events are numbered, handed to readers here at once, to
readers elsewhere within 0.1 s, and stored each second together with the text so far. It ends with exactly one
terminal event, in the transaction that stores its answer.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import lifecycle
from core.api.problems import problem_of
from core.database import in_database
from core.exceptions import MagnetError
from core.faults import fault
from observability.choices import RunStatus
from observability.models import Run
from observability.runs import store
from observability.runs.events import Event, EventName, NumberedEvent
from observability.tracing import TraceRecorder, recording

logger = logging.getLogger(__name__)

LINGER_SECONDS = 30.0
PUBLISH_SECONDS = 0.1
FLUSH_SECONDS = 1.0
PROCESS = f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Closing:
    """What the engine's service says at the end: the engine's part of the answer object and the columns."""

    answer: dict[str, Any]
    content: str
    complete: bool
    finish_reason: str = ""
    resolution: str = ""
    model: str = ""


@dataclass(frozen=True)
class Work:
    """What a run does. events: the engine's; content: the text so far; close: called once, inside the closing
    transaction, also after a failure or a cancellation, to store what there is."""

    events: AsyncIterator[Event]
    content: Callable[[], str]
    close: Callable[[Run], Closing]
    recorder: TraceRecorder


class RunFailed(MagnetError):
    """A run that ended with a problem, for callers that wait for its answer."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")))
        self.status, self.code = int(problem["status"]), str(problem["code"])
        self.title = str(problem.get("title", ""))
        self.problem = problem


@dataclass
class LiveRun:
    """A run that this process executes."""

    run: Run
    work: Work
    task: "asyncio.Task[None] | None" = None
    events: list[NumberedEvent] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    readers: int = 0
    unread_since: float = field(default_factory=time.monotonic)
    published: int = 0
    flushed: int = 0

    async def emit(self, event: Event) -> None:
        seq = len(self.events) + 1
        data = {"run_id": str(self.run.pk), "seq": seq, **event.data}
        await self.append(NumberedEvent(seq, event.name, data))

    async def append(self, event: NumberedEvent) -> None:
        async with self.news:
            self.events.append(event)
            self.news.notify_all()

    async def behind(self, seq: int) -> list[NumberedEvent]:
        """The events behind this number, as soon as there is one."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.events) > seq)
            return self.events[seq:]

    @property
    def abandoned(self) -> bool:
        return self.readers == 0 and time.monotonic() - self.unread_since > LINGER_SECONDS


_live: dict[uuid.UUID, LiveRun] = {}


async def start(run: Run, work: Work) -> None:
    """Execute a saved run as a task of this process."""
    live = LiveRun(run, work)
    _live[run.pk] = live
    lifecycle.on_shutdown(shutdown)
    fault("run.created")
    live.task = asyncio.create_task(_execute(live), name=f"run {run.pk}")


async def _execute(live: LiveRun) -> None:
    """The whole life of a run. A cancellation still stores what there is."""
    flusher = asyncio.create_task(_keep_flushing(live))
    status, problem = RunStatus.COMPLETED, None
    try:
        with recording(live.work.recorder):
            await live.emit(Event(EventName.RUN_STARTED, _started(live.run)))
            async with contextlib.aclosing(_as_generator(live.work.events)) as events:
                async for event in events:
                    await live.emit(event)
    except asyncio.CancelledError:
        status = RunStatus.CANCELLED
    except Exception as error:  # whatever an engine raises becomes the run's problem, and is logged
        status, problem = RunStatus.FAILED, problem_of(error)
        if problem["status"] >= 500:
            logger.error("run.failed", exc_info=error, extra={"run_id": str(live.run.pk)})
    flusher.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flusher
    await asyncio.shield(asyncio.ensure_future(_close(live, status, problem)))


async def _as_generator(events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
    async for event in events:
        yield event


def _started(run: Run) -> dict[str, Any]:
    return {"kind": run.kind, "target": run.target_slug, "variant": run.variant}


async def _close(live: LiveRun, status: RunStatus, problem: dict[str, Any] | None) -> None:
    fault("run.before_close")
    try:
        terminal = await in_database(_close_row, live, status, problem)
    except Exception as error:  # the database is down: readers still get an end, the sweeper the row
        logger.error("run.not_closed", exc_info=error, extra={"run_id": str(live.run.pk)})
        terminal = _numbered(live, Event(EventName.RUN_FAILED, {"problem": problem_of(error)}))
    await live.append(terminal)
    await store.publish(live.run.pk, live.events[live.published :])
    _live.pop(live.run.pk, None)


def _numbered(live: LiveRun, event: Event) -> NumberedEvent:
    seq = len(live.events) + 1
    return NumberedEvent(seq, event.name, {"run_id": str(live.run.pk), "seq": seq, **event.data})


@transaction.atomic
def _close_row(live: LiveRun, status: RunStatus, problem: dict[str, Any] | None) -> NumberedEvent:
    """Content, citations, usage, trace, status and last event, in one transaction."""
    run = Run._unscoped.select_for_update().get(pk=live.run.pk)
    run.trace = live.work.recorder.save(run)
    closing = live.work.close(run)
    if status is RunStatus.COMPLETED and not closing.complete:
        status = RunStatus.INCOMPLETE
    if run.status == RunStatus.RUNNING:
        run.move_to(status)
    run.finished_at = timezone.now()
    run.duration_ms = int((run.finished_at - run.started_at).total_seconds() * 1000)
    run.content, run.finish_reason = closing.content, closing.finish_reason
    run.resolution, run.model, run.problem = closing.resolution, closing.model, problem
    run.answer = answer_of(run, closing.answer)
    terminal = _numbered(live, _terminal(run))
    store.insert_events(run, [*live.events[live.flushed :], terminal])
    run.last_seq = terminal.seq
    run.lease_expires_at = None
    run.save()
    live.run = run
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


def _terminal(run: Run) -> Event:
    if run.status == RunStatus.FAILED:
        return Event(EventName.RUN_FAILED, {"problem": run.problem, "answer": run.answer})
    name = EventName.RUN_CANCELLED if run.status == RunStatus.CANCELLED else EventName.RUN_COMPLETED
    return Event(name, {"answer": run.answer})


async def _keep_flushing(live: LiveRun) -> None:
    """Publish often, store each second, and cancel what nobody reads or somebody cancelled."""
    last_flush = time.monotonic()
    while True:
        await asyncio.sleep(PUBLISH_SECONDS)
        new = live.events[live.published :]
        live.published += len(new)
        await store.publish(live.run.pk, new)
        if time.monotonic() - last_flush >= FLUSH_SECONDS:
            last_flush = time.monotonic()
            cancelled = await _flush(live)
            if (cancelled or live.abandoned) and live.task is not None:
                live.task.cancel()
                return


async def _flush(live: LiveRun) -> bool:
    """Store what is new. A database that is away is tried again in a second; the text is still in memory."""
    new = live.events[live.flushed :]
    try:
        cancelled = await in_database(store.flush, live.run, new, live.work.content())
    except Exception:  # recorded; the next second tries again
        logger.warning("run.flush_failed", exc_info=True, extra={"run_id": str(live.run.pk)})
        return False
    live.flushed += len(new)
    return cancelled


async def follow(run_id: uuid.UUID, after: int = 0) -> AsyncIterator[NumberedEvent]:
    """The events of a run behind number `after`, until its end, wherever it is executed."""
    live = _live.get(run_id)
    if live is None:
        async for event in store.follow_stored(run_id, after):
            yield event
        return
    live.readers += 1
    try:
        while True:
            for event in await live.behind(after):
                after = event.seq
                yield event
                if event.is_terminal:
                    return
    finally:
        live.readers -= 1
        live.unread_since = time.monotonic()


async def wait(run_id: uuid.UUID) -> dict[str, Any]:
    """The answer object of a run whose caller waits for it; a caller that goes away cancels it.

    Raises RunFailed with the run's problem.
    """
    try:
        async for event in follow(run_id):
            if event.name is EventName.RUN_FAILED:
                raise RunFailed(event.data["problem"])
            if event.is_terminal:
                answer: dict[str, Any] = event.data["answer"]
                return answer
    except asyncio.CancelledError:
        await cancel(run_id)
        raise
    raise RunFailed(problem_of(MagnetError("The run was lost with its process.")))


async def cancel(run_id: uuid.UUID) -> None:
    """Cancel a run, in this process at once, in another within about a second. A finished run stays as it is."""
    live = _live.get(run_id)
    if live is not None and live.task is not None:
        live.task.cancel()
    else:
        await in_database(store.mark_cancelled, run_id)


async def shutdown() -> None:
    """Cancel all runs of this process and wait until what they have is stored."""
    tasks = [live.task for live in _live.values() if live.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
