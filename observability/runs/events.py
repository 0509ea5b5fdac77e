"""The typed events that engines yield. Only `core/api/sse.py` knows how they look on the wire."""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class EventName(StrEnum):
    RUN_STARTED = "run.started"
    RETRIEVAL_COMPLETED = "retrieval.completed"
    MESSAGE_DELTA = "message.delta"
    CITATION = "citation"
    USAGE = "usage"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"


TERMINAL = frozenset({EventName.RUN_COMPLETED, EventName.RUN_FAILED, EventName.RUN_CANCELLED})


@dataclass(frozen=True)
class Event:
    """`data` holds plain JSON values."""

    name: EventName
    data: dict[str, Any]


@dataclass(frozen=True)
class NumberedEvent:
    """An event with its place in the run; the data carries `run_id` and `seq` too."""

    seq: int
    name: EventName
    data: dict[str, Any]

    @property
    def is_terminal(self) -> bool:
        return self.name in TERMINAL


def numbered(run_id: uuid.UUID, seq: int, event: Event) -> NumberedEvent:
    """The event with its place in its run."""
    return NumberedEvent(seq, event.name, {"run_id": str(run_id), "seq": seq, **event.data})
