"""Where the events of a run stand: PostgreSQL for good, a capped Valkey stream for readers in other processes."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now
from redis.exceptions import RedisError

from core import lifecycle
from core.compiled import Statement, execute
from core.database import in_database
from core.valkey import async_client, sync_client
from observability.choices import RunStatus
from observability.models import Run, RunEvent
from observability.plain import plain_text
from observability.runs.events import EventName, NumberedEvent

logger = logging.getLogger(__name__)

T = TypeVar("T")

LINGER = timedelta(seconds=30)  # how long a run goes on without a reader
STREAM_LENGTH = 600  # entries of 0.1 s each
STREAM_SECONDS = 120  # renewed with each event; PostgreSQL has them all a second later
POLL_SECONDS = 0.5
READ_MARK = timedelta(seconds=5)
VALKEY_PAUSE_SECONDS = 5.0
DATABASE_PATIENCE_SECONDS = 60.0

_valkey_away_until = 0.0


@dataclass(frozen=True)
class Standing:
    """What the row of a run says to the process that executes it.

    lost: it was ended or deleted by somebody else; cancelled: somebody asked for it; read: a reader in another
    process showed itself a short while ago.
    """

    lost: bool = False
    cancelled: bool = False
    read: bool = False


# An entry holds the events of one look at the run, under the number of its last one; the name tells this form from the
# one of an event an entry, so that processes of two releases read PostgreSQL from one another.
STREAM_PREFIX = "magnet:run-events:"
SPENT_PREFIX = "magnet:run-spent:"

INSERT_EVENTS = """
INSERT INTO observability_runevent (workspace_id, run_id, seq, event, data, created_at)
SELECT %s, %s, told.seq, told.event, told.data, clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb) AS told(seq integer, event text, data jsonb)
ON CONFLICT DO NOTHING
"""


def stream_key(run_id: uuid.UUID) -> str:
    return f"{STREAM_PREFIX}{run_id}"


def lease_time() -> timedelta:
    """How long a run is its process's without a sign of life."""
    return timedelta(seconds=settings.RUN_LEASE_SECONDS)


@transaction.atomic
def flush(run: Run, events: Sequence[NumberedEvent], content: str) -> Standing:
    """Store new events and the text so far, and renew the lease, unless the run is not ours any more."""
    running = Run._unscoped.filter(pk=run.pk, status=RunStatus.RUNNING)
    last_seq = events[-1].seq if events else run.last_seq
    if not running.update(content=plain_text(content), last_seq=last_seq, lease_expires_at=Now() + lease_time()):
        return Standing(lost=True)
    insert_events(run, events)
    run.last_seq = last_seq
    read = ExpressionWrapper(Q(read_at__isnull=False) & Q(read_at__gt=Now() - LINGER), output_field=BooleanField())
    asked_at, was_read = running.annotate(was_read=read).values_list("cancel_requested_at", "was_read").get()
    return Standing(cancelled=asked_at is not None, read=was_read)


def insert_events(run: Run, events: Sequence[NumberedEvent]) -> None:
    """Store events of a run. Those that stand there already came with a commit that was not acknowledged."""
    if events:
        execute(insertion(run, events))


def insertion(run: Run, events: Sequence[NumberedEvent]) -> Statement[None]:
    """The statement of `insert_events`.

    With one value for all: a row object for each word of an answer would cost more than the word.
    """
    rows = json.dumps([{"seq": event.seq, "event": event.name.value, "data": event.data} for event in events])
    return Statement(INSERT_EVENTS, (run.workspace_id, run.pk, rows), None)


async def publish(run_id: uuid.UUID, events: Sequence[NumberedEvent], spent: bytes = b"") -> None:
    """Offer events to readers in other processes, and a note of what was spent to the sweeper.

    A Valkey that is down costs readers half a second of delay, and the note.
    """
    global _valkey_away_until  # noqa: PLW0603 - one Valkey for the process, so one pause for all its runs
    if not (events or spent) or time.monotonic() < _valkey_away_until:
        return
    pipeline = async_client().pipeline(transaction=False)
    if spent:
        pipeline.set(f"{SPENT_PREFIX}{run_id}", spent, ex=STREAM_SECONDS)
    if events:
        key = stream_key(run_id)
        entry = {"events": json.dumps([(event.seq, event.name.value, event.data) for event in events])}
        pipeline.xadd(key, entry, id=f"{events[-1].seq}-0", maxlen=STREAM_LENGTH, approximate=True)
        pipeline.expire(key, STREAM_SECONDS)
    try:
        await pipeline.execute()
    except (RedisError, OSError):
        _valkey_away_until = time.monotonic() + VALKEY_PAUSE_SECONDS
        logger.warning("run.stream_unavailable", extra={"run_id": str(run_id)})


def published_tail(run_id: uuid.UUID, after: int) -> list[NumberedEvent]:
    """What a process that died had published behind number `after` and not stored; nothing when Valkey is away."""
    try:
        entries = sync_client().xrange(stream_key(run_id), min=f"({after}-0")
    except (RedisError, OSError):
        return []
    tail: list[NumberedEvent] = []
    for event in _events(entries, after):
        if event.seq != after + len(tail) + 1 or event.is_terminal:
            break
        tail.append(event)
    return tail


def noted_spending(run_id: uuid.UUID) -> bytes:
    """The note of what a process that died had spent and not stored; nothing when Valkey is away."""
    try:
        return bytes(sync_client().get(f"{SPENT_PREFIX}{run_id}") or b"")
    except (RedisError, OSError):
        return b""


def stored_events(run_id: uuid.UUID, after: int) -> tuple[list[NumberedEvent], bool]:
    """The events in PostgreSQL behind this number, and whether the run is over.

    Somebody who saw more than was stored when its process died still gets the terminal event.
    """
    over = not Run._unscoped.filter(pk=run_id, status=RunStatus.RUNNING).exists()
    rows = RunEvent._unscoped.filter(run_id=run_id).order_by("seq")
    found = [NumberedEvent(row.seq, EventName(row.event), row.data) for row in rows.filter(seq__gt=after)]
    if over and not found:
        last = rows.filter(seq__lt=after).last() if not rows.filter(seq=after).exists() else None
        found = [NumberedEvent(last.seq, EventName(last.event), last.data)] if last is not None else []
    return found, over


def mark_read(run_id: uuid.UUID) -> None:
    """Tell the executing process that somebody reads here."""
    stale = Q(read_at__isnull=True) | Q(read_at__lt=Now() - READ_MARK)
    Run._unscoped.filter(stale, pk=run_id, status=RunStatus.RUNNING).update(read_at=Now())


def mark_cancelled(run_id: uuid.UUID) -> None:
    """Ask the process that executes the run to cancel it; it looks each second."""
    Run._unscoped.filter(pk=run_id, status=RunStatus.RUNNING).update(cancel_requested_at=Now())


async def follow_stored(run_id: uuid.UUID, after: int) -> AsyncGenerator[NumberedEvent]:
    """Replay a run from PostgreSQL, and stay with it through Valkey while another process executes it."""
    while not lifecycle.stopping():
        events, over = await patiently(stored_events, run_id, after)
        for event in events:
            after = event.seq
            yield event
            if event.is_terminal:
                return
        if over:
            return
        await patiently(mark_read, run_id)
        async with aclosing(_streamed(run_id, after)) as published:
            async for event in published:
                after = event.seq
                yield event
                if event.is_terminal:
                    return


async def patiently(work: Callable[..., T], *args: Any) -> T:
    """Database work for a reader who can wait: a database that is away is asked again for a minute."""
    began = time.monotonic()
    while True:
        try:
            return await in_database(work, *args)
        except (OperationalError, InterfaceError):
            if lifecycle.stopping() or time.monotonic() - began > DATABASE_PATIENCE_SECONDS:
                raise
            await asyncio.sleep(POLL_SECONDS)


async def _streamed(run_id: uuid.UUID, after: int) -> AsyncGenerator[NumberedEvent]:
    """Events from Valkey without a gap; ends when there is a gap, a pause, no Valkey, or a read mark is due."""
    until = time.monotonic() + READ_MARK.total_seconds()
    while time.monotonic() < until:
        try:
            answer = await async_client().xread({stream_key(run_id): f"{after}-0"}, count=500, block=1000)
        except (RedisError, OSError):
            await asyncio.sleep(POLL_SECONDS)
            return
        entries = _entries(answer)
        if not entries:
            return
        for event in _events(entries, after):
            if event.seq != after + 1:
                await asyncio.sleep(POLL_SECONDS)
                return
            after = event.seq
            yield event


def _entries(answer: Any) -> list[Any]:
    """redis-py answers a list by RESP2 and a mapping by RESP3."""
    if not answer:
        return []
    if isinstance(answer, list):
        entries: list[Any] = answer[0][1]
        return entries
    return [entry for batch in answer.values() for entry in batch[0]]


def _events(entries: Iterable[Any], after: int) -> Iterator[NumberedEvent]:
    """The events of these entries behind number `after`: that one may stand in the middle of the first entry."""
    for _, fields in entries:
        for seq, name, data in json.loads(fields[b"events"]):
            if seq > after:
                yield NumberedEvent(seq, EventName(name), data)
