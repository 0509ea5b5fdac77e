"""What a run has spent, noted in Valkey before its end is stored: a process that dies in between loses no books."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from observability.models import Run
from observability.tracing import TraceRecorder, UsageEntry


@dataclass(frozen=True)
class Note:
    """Calls of models that are not in the database, with what their trace is called."""

    trace_id: uuid.UUID
    name: str
    started_at: datetime
    entries: list[UsageEntry]


@cache
def _form() -> Any:
    """Imported here: only what notes or reads a note needs it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Note)


def note_of(recorder: TraceRecorder) -> bytes:
    """The note as JSON; nothing when all is stored."""
    entries = recorder.usage[recorder.usage_stored :]
    if not entries:
        return b""
    noted: bytes = _form().dump_json(Note(recorder.id, recorder.name, recorder.started_at, entries))
    return noted


def book(run: Run, text: bytes) -> None:
    """Store what a dead run's note tells, with its trace. What stands there already is not stored twice."""
    note: Note = _form().validate_json(text)
    recorder = TraceRecorder(
        name=note.name,
        kind=run.kind,
        workspace_id=run.workspace_id,
        user_id=run.user_id,
        key_id=run.key_id,
        target=run.target_slug,
        id=note.trace_id,
        started_at=note.started_at,
        usage=note.entries,
    )
    recorder.save_usage(run)
    run.trace_id = note.trace_id
