"""What a run is given to do, and the ways in which it ends."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from observability.choices import RunStatus
from observability.models import Run
from observability.runs.events import Event
from observability.tracing import TraceRecorder


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
    """What a run does.

    events: the engine's, an async generator; content: the text so far; close: called inside the closing transaction,
    also after a failure or a cancellation, to store what there is, and again when that could not commit.
    """

    events: AsyncIterator[Event]
    content: Callable[[], str]
    close: Callable[[Run], Closing]
    recorder: TraceRecorder


@dataclass(frozen=True)
class Started:
    """A saved run and the work that it is about to do."""

    run: Run
    work: Work


class StopReason(StrEnum):
    """Why a run is ended before its engine ends. The value is the run's finish reason."""

    ASKED = "cancelled"
    GONE = "caller_gone"
    UNREAD = "no_reader"
    SHUTDOWN = "shutdown"
    LOST = "lost"


@dataclass(frozen=True)
class Ending:
    """How the engine's part of a run ended. problem: of a failed one, as RFC 9457 has it."""

    status: RunStatus
    finish_reason: str = ""
    problem: dict[str, Any] | None = None
