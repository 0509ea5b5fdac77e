"""Runs as tasks of this process: they do not depend on the socket that asked for them.

A run is executed by the process that accepted it. Its events are numbered, handed to readers here at once, to
readers elsewhere within 0.1 s, and stored each second together with the text so far. It ends with exactly one
terminal event, in the transaction that stores its answer.
"""

import asyncio
import contextvars
import logging
import os
import socket
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

from django.db import Error as DatabaseFailure
from django.db import transaction
from django.utils import timezone

from core import lifecycle
from core.api.problems import problem_of
from core.context import add_log_fields, request_id
from core.database import in_database
from core.exceptions import MagnetError
from core.faults import fault
from core.metrics import RUN_DURATION, RUNS
from observability.choices import RunStatus
from observability.models import Run
from observability.runs import closing, store
from observability.runs.events import TERMINAL, Event, EventName, NumberedEvent, numbered
from observability.runs.frames import framed
from observability.runs.spent import note_of
from observability.runs.work import Ending, StopReason, Work
from observability.tracing import recording

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 0.1
FLUSH_SECONDS = 1.0
RUN_SECONDS = 900.0  # longer than the deadlines of all model calls of one answer
TURN_EVENTS = 50
PROCESS = f"{socket.gethostname()}:{os.getpid()}"


class RunFailed(MagnetError):
    """A run that ended with a problem, for callers that wait for its answer."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")), retry_after=problem.get("retry_after"))
        self.status, self.code = int(problem["status"]), str(problem["code"])
        self.title = str(problem.get("title", ""))
        self.problem = problem


@dataclass
class LiveRun:
    """A run that this process executes, with its events so far.

    published, flushed: how many of them other processes and the database have. resting: the flusher is between two
    looks and may be disturbed. closing: the engine has ended, so there is nothing to stop any more.
    """

    run: Run
    work: Work
    events: list[NumberedEvent] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0
    unread_since: float = field(default_factory=time.monotonic)
    published: int = 0
    flushed: int = 0
    begun: bool = False
    resting: bool = False
    closing: bool = False
    over: bool = False
    stop_reason: StopReason | None = None
    task: "asyncio.Task[None] | None" = None

    def emit(self, event: Event) -> None:
        for piece in framed(event):
            self.append(numbered(self.run.pk, len(self.events) + 1, piece))

    def append(self, event: NumberedEvent) -> None:
        self.events.append(event)
        self.over = event.is_terminal
        self.news.set()
        self.news = asyncio.Event()

    async def behind(self, seq: int) -> list[NumberedEvent]:
        """The events behind this number, as soon as there is one; none when there will be none.

        Behind a number that the run never reached stands its end.
        """
        while len(self.events) <= seq and not self.over:
            await self.news.wait()
        return self.events[seq:] if seq <= len(self.events) else self.events[-1:]

    def stop(self, reason: StopReason) -> None:
        """End the engine's work; what it has said is stored. Nothing happens once it has ended or is being stopped."""
        if self.closing or self.stop_reason is not None:
            return
        self.stop_reason = reason
        if self.begun and self.task is not None:
            self.task.cancel()

    @property
    def unread(self) -> bool:
        return self.readers == 0 and time.monotonic() - self.unread_since > store.LINGER.total_seconds()


_live: dict[uuid.UUID, LiveRun] = {}


async def start(run: Run, work: Work) -> None:
    """Execute a saved run as a task of this process. The caller holds no database connection any more."""
    live = LiveRun(run, work)
    _live[run.pk] = live
    lifecycle.on_shutdown(shutdown)
    fault("run.created")
    if lifecycle.stopping():
        live.stop(StopReason.SHUTDOWN)
    live.task = asyncio.create_task(_execute(live), name=f"run {run.pk}", context=_own_context())


def _own_context() -> contextvars.Context:
    """An empty context but for the request's id: the request's own threads end with it, and the run goes on."""
    context = contextvars.Context()
    context.run(request_id.set, request_id.get())
    return context


async def _execute(live: LiveRun) -> None:
    """The whole life of a run."""
    run = live.run
    add_log_fields(run_id=run.pk, trace_id=live.work.recorder.id, workspace=run.workspace_id)
    flusher = asyncio.create_task(_keep_flushing(live))
    try:
        ending = await _work(live)
        live.closing = True
        if live.resting:
            flusher.cancel()
        await asyncio.wait({flusher})
        await _leave_word(live)
        fault("run.before_close")
        unstored = live.events[live.flushed :]
        unclosed = closing.Unclosed(live.run, live.work, ending, unstored, seq=len(live.events) + 1)
        live.append(await closing.close(unclosed))
        fault("run.closed")
        await _publish(live)
        _count(live, ending)
    finally:
        _live.pop(live.run.pk, None)


def _count(live: LiveRun, ending: Ending) -> None:
    seconds = (timezone.now() - live.run.started_at).total_seconds()
    RUNS.labels(live.run.kind, ending.status.value).inc()
    RUN_DURATION.labels(live.run.kind).observe(seconds)
    told = {"kind": live.run.kind, "target": live.run.target_slug, "status": ending.status.value}
    logger.info("run.ended", extra={**told, "duration_ms": round(seconds * 1000)})


async def _work(live: LiveRun) -> Ending:
    """Let the engine work; answer how it ended. Being stopped is an ending too."""
    if live.stop_reason is not None:
        return Ending(RunStatus.CANCELLED, live.stop_reason)
    live.begun = True
    limit = asyncio.timeout(RUN_SECONDS)
    try:
        async with limit:
            await _tell_all(live)
    except asyncio.CancelledError as error:
        return _stopped(live, error)
    except Exception as error:  # noqa: BLE001  # whatever an engine raises becomes the run's problem, and is logged
        if limit.expired():
            return Ending(RunStatus.INCOMPLETE, "limit_reached")
        return _failure(live, error)
    return Ending(RunStatus.COMPLETED)


async def _tell_all(live: LiveRun) -> None:
    with recording(live.work.recorder):
        live.emit(Event(EventName.RUN_STARTED, _started(live)))
        async with aclosing(cast(AsyncGenerator[Event], live.work.events)) as events:
            async for event in events:
                if event.name in TERMINAL:
                    raise ValueError(f"An engine told {event.name}; only the run itself ends.")
                live.emit(event)
                if event.name is EventName.MESSAGE_DELTA:
                    fault("run.mid_stream")
                if len(live.events) % TURN_EVENTS == 0:
                    await asyncio.sleep(0)  # an engine that never waits must not keep the others from working


def _started(live: LiveRun) -> dict[str, Any]:
    run = live.run
    trace_id = str(live.work.recorder.id)
    return {"kind": run.kind, "target": run.target_slug, "variant": run.variant, "trace_id": trace_id}


def _stopped(live: LiveRun, error: BaseException) -> Ending:
    """A cancellation that nobody here asked for is the engine's failure."""
    return _failure(live, error) if live.stop_reason is None else Ending(RunStatus.CANCELLED, live.stop_reason)


def _failure(live: LiveRun, error: BaseException) -> Ending:
    problem = problem_of(error)
    if problem["status"] >= 500:
        # Our own errors may quote what a model said, and their code says enough; of others, the log has all there is.
        unexpected = None if isinstance(error, MagnetError) else error
        told = {"run_id": str(live.run.pk), "code": problem["code"], "error": type(error).__name__}
        logger.error("run.failed", exc_info=unexpected, extra=told)
    return Ending(RunStatus.FAILED, problem=problem)


async def _publish(live: LiveRun, spent: bytes = b"") -> None:
    new = live.events[live.published :]
    await store.publish(live.run.pk, new, spent)
    live.published += len(new)


async def _leave_word(live: LiveRun) -> None:
    """What the sweeper needs to close this run as it should be, if this process dies before it has."""
    await _publish(live, note_of(live.work.recorder))


async def _keep_flushing(live: LiveRun) -> None:
    """Publish often, store each second and when a model has been paid, and stop what nobody reads or somebody
    cancelled."""
    last_flush, booked = time.monotonic(), 0
    while not live.closing:
        live.resting = True
        await asyncio.sleep(PUBLISH_SECONDS)
        live.resting = False
        await _publish(live)
        if time.monotonic() - last_flush >= FLUSH_SECONDS or len(live.work.recorder.usage) > booked:
            last_flush, booked = time.monotonic(), len(live.work.recorder.usage)
            await _flush(live)


@transaction.atomic
def _store(live: LiveRun, new: Sequence[NumberedEvent]) -> store.Standing:
    """Events, text and what was spent, as one."""
    standing = store.flush(live.run, new, live.work.content())
    if not standing.lost:
        live.work.recorder.save_usage(live.run)
    return standing


async def _flush(live: LiveRun) -> None:
    """Store what is new. A database that is away is tried again in a second; the text is still in memory."""
    new = live.events[live.flushed :]
    try:
        standing = await in_database(_store, live, new)
    except DatabaseFailure:
        logger.warning("run.flush_failed", exc_info=True, extra={"run_id": str(live.run.pk)})
        return
    fault("run.flushed")
    live.flushed += len(new)
    if standing.read:
        live.unread_since = time.monotonic()
    if standing.lost:
        live.stop(StopReason.LOST)
    elif standing.cancelled:
        live.stop(StopReason.ASKED)
    elif live.unread:
        live.stop(StopReason.UNREAD)


async def follow(run_id: uuid.UUID, after: int = 0) -> AsyncGenerator[NumberedEvent]:
    """The events of a run behind number `after`, until its end, wherever it is executed."""
    live = _live.get(run_id)
    if live is None:
        async with aclosing(store.follow_stored(run_id, after)) as stored:
            async for event in stored:
                yield event
        return
    live.readers += 1
    try:
        while news := await live.behind(after):
            for event in news:
                after = event.seq
                yield event
    finally:
        live.readers -= 1
        live.unread_since = time.monotonic()


async def wait(run_id: uuid.UUID) -> dict[str, Any]:
    """The answer object of a run whose caller waits for it; a caller that goes away cancels it.

    Raises RunFailed with the run's problem.
    """
    try:
        async with aclosing(follow(run_id)) as events:
            async for event in events:
                if event.name is EventName.RUN_FAILED:
                    raise RunFailed(event.data["problem"])
                if event.is_terminal:
                    answer: dict[str, Any] = event.data["answer"]
                    return answer
    except asyncio.CancelledError:
        await cancel(run_id, StopReason.GONE)
        raise
    raise RunFailed(problem_of(MagnetError("The run was lost with its process.")))


async def cancel(run_id: uuid.UUID, reason: StopReason = StopReason.ASKED) -> None:
    """Cancel a run, in this process at once, in another within about a second. A finished run stays as it is."""
    live = _live.get(run_id)
    if live is not None:
        live.stop(reason)
    else:
        await in_database(store.mark_cancelled, run_id)


async def shutdown() -> None:
    """Stop all runs of this process and wait until what they have is stored."""
    runs = list(_live.values())
    for live in runs:
        live.stop(StopReason.SHUTDOWN)
    await asyncio.gather(*(live.task for live in runs if live.task is not None), return_exceptions=True)
