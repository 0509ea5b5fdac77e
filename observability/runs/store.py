"""Where the events of a run stand: PostgreSQL for good, a capped Valkey stream for readers in other processes."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from redis.exceptions import RedisError

from core.database import in_database
from core.valkey import async_client
from observability.choices import RunStatus
from observability.models import Run, RunEvent
from observability.runs.events import EventName, NumberedEvent

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
STREAM_LENGTH = 5000
STREAM_SECONDS = 3600
POLL_SECONDS = 0.5


def stream_key(run_id: uuid.UUID) -> str:
    return f"magnet:run:{run_id}"


@transaction.atomic
def flush(run: Run, events: Sequence[NumberedEvent], content: str) -> bool:
    """Store new events and the text so far, and renew the lease. True when somebody asked to cancel."""
    _insert(run, events)
    Run._unscoped.filter(pk=run.pk, status=RunStatus.RUNNING).update(
        content=content, last_seq=events[-1].seq if events else run.last_seq, lease_expires_at=Now() + LEASE
    )
    if events:
        run.last_seq = events[-1].seq
    return Run._unscoped.filter(pk=run.pk, cancel_requested_at__isnull=False).exists()


def _insert(run: Run, events: Sequence[NumberedEvent]) -> None:
    RunEvent._unscoped.bulk_create(
        RunEvent(workspace_id=run.workspace_id, run=run, seq=event.seq, event=event.name.value, data=event.data)
        for event in events
    )


def insert_events(run: Run, events: Sequence[NumberedEvent]) -> None:
    """Store the last events of a run, inside the transaction that closes it."""
    _insert(run, events)


async def publish(run_id: uuid.UUID, events: Sequence[NumberedEvent]) -> None:
    """Offer events to readers in other processes. A Valkey that is down costs them half a second of delay."""
    if not events:
        return
    key = stream_key(run_id)
    pipeline = async_client().pipeline(transaction=False)
    for event in events:
        fields = {"event": event.name.value, "data": json.dumps(event.data)}
        pipeline.xadd(key, fields, id=f"{event.seq}-0", maxlen=STREAM_LENGTH, approximate=True)
    pipeline.expire(key, STREAM_SECONDS)
    try:
        await pipeline.execute()
    except (RedisError, OSError):
        logger.warning("run.stream_unavailable", extra={"run_id": str(run_id)})


def stored_events(run_id: uuid.UUID, after: int) -> tuple[list[NumberedEvent], bool]:
    """The events in PostgreSQL behind this number, and whether the run is over."""
    over = not Run._unscoped.filter(pk=run_id, status=RunStatus.RUNNING).exists()
    rows = RunEvent._unscoped.filter(run_id=run_id, seq__gt=after).order_by("seq")
    return [NumberedEvent(row.seq, EventName(row.event), row.data) for row in rows], over


async def follow_stored(run_id: uuid.UUID, after: int) -> AsyncIterator[NumberedEvent]:
    """Replay a run from PostgreSQL, and stay with it through Valkey while another process executes it."""
    while True:
        events, over = await in_database(stored_events, run_id, after)
        for event in events:
            after = event.seq
            yield event
            if event.is_terminal:
                return
        if over:
            return
        async for event in _streamed(run_id, after):
            after = event.seq
            yield event
            if event.is_terminal:
                return


async def _streamed(run_id: uuid.UUID, after: int) -> AsyncIterator[NumberedEvent]:
    """Events from Valkey without a gap; ends when there is a gap, a pause or no Valkey."""
    while True:
        try:
            answer = await async_client().xread({stream_key(run_id): f"{after}-0"}, count=500, block=1000)
        except (RedisError, OSError):
            await asyncio.sleep(POLL_SECONDS)
            return
        entries = answer[0][1] if isinstance(answer, list) and answer else _entries(answer)
        if not entries:
            return
        for identifier, fields in entries:
            seq = int(identifier.split(b"-")[0])
            if seq != after + 1:
                await asyncio.sleep(POLL_SECONDS)
                return
            after = seq
            yield NumberedEvent(seq, EventName(fields[b"event"].decode()), json.loads(fields[b"data"]))


def _entries(answer: Any) -> list[Any]:
    """redis-py answers a list by RESP2 and a mapping by RESP3."""
    return [entry for batch in answer.values() for entry in batch[0]] if answer else []


def mark_cancelled(run_id: uuid.UUID) -> None:
    """Ask the process that executes the run to cancel it; it looks each second."""
    Run._unscoped.filter(pk=run_id, status=RunStatus.RUNNING).update(cancel_requested_at=timezone.now())
