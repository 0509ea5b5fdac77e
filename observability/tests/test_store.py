"""Where the events of a run stand, and what happens when one of the two places is away."""

import asyncio
import time

import pytest
import redis.asyncio
from asgiref.sync import sync_to_async
from django.db import OperationalError, connections
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from core.valkey import sync_client
from observability.choices import RunStatus
from observability.models import Run, RunEvent
from observability.runs import live, store
from observability.runs.events import Event, EventName, numbered
from observability.tests.engines import Script
from observability.tests.factories import RunFactory

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
async def nothing_is_left(monkeypatch):
    monkeypatch.setattr(store, "_valkey_away_until", 0.0)
    yield
    await live.shutdown()
    await sync_to_async(connections.close_all)()


@pytest.fixture
async def run() -> Run:
    return await sync_to_async(RunFactory)()


@pytest.fixture
def nowhere(monkeypatch) -> list[float]:
    """No Valkey; a list of when it was asked."""
    asked: list[float] = []

    def client():
        asked.append(time.monotonic())
        return redis.asyncio.Redis(port=1, retry=Retry(NoBackoff(), 0))

    monkeypatch.setattr(store, "async_client", client)
    return asked


def delta(run: Run, seq: int):
    return numbered(run.pk, seq, Event(EventName.MESSAGE_DELTA, {"text": f"{seq} "}))


async def elsewhere(run: Run, after: int = 0) -> list:
    """What a reader in another process gets."""
    return [event async for event in store.follow_stored(run.pk, after)]


async def test_readers_elsewhere_get_every_event_once_and_soon(run):
    delays = []

    async def read() -> list[int]:
        seen = []
        async for event in store.follow_stored(run.pk, 0):
            seen.append(event.seq)
            if event.name == EventName.MESSAGE_DELTA:
                delays.append(time.monotonic() - float(event.data["text"]))
        return seen

    script = Script(texts=())

    async def events():
        for _ in range(40):
            await asyncio.sleep(0.03)
            yield Event(EventName.MESSAGE_DELTA, {"text": str(time.monotonic())})

    script.events = events
    await live.start(run, script.work(run))

    assert await read() == list(range(1, 43))
    assert sorted(delays)[len(delays) // 2] < 0.5


async def test_the_stream_in_valkey_goes_away_by_itself(run):
    await live.start(run, Script().work(run))
    await live.wait(run.pk)
    await asyncio.sleep(0.05)

    assert [event.seq for event in store.published_tail(run.pk, 0)] == [1, 2, 3, 4]
    assert [event.seq for event in store.published_tail(run.pk, 2)] == [3, 4]
    assert 0 < sync_client().ttl(store.stream_key(run.pk)) <= store.STREAM_SECONDS


async def test_without_valkey_readers_elsewhere_read_the_database(run, nowhere):
    await live.start(run, Script(texts=["x"] * 30, pause=0.1).work(run))

    events = await elsewhere(run)

    assert [event.seq for event in events] == list(range(1, 33))
    assert (await Run._unscoped.aget(pk=run.pk)).status == RunStatus.COMPLETED


async def test_a_valkey_that_is_away_is_not_asked_with_every_event(run, nowhere):
    await live.start(run, Script(texts=["x"] * 20, pause=0.05).work(run))

    await live.wait(run.pk)

    assert len(nowhere) <= 2


async def test_a_gap_in_valkey_is_filled_from_the_database(run, monkeypatch):
    monkeypatch.setattr(store, "POLL_SECONDS", 0.05)
    for seq in (1, 2, 4):
        await store.publish(run.pk, [delta(run, seq)])
    await RunEvent._unscoped.abulk_create(
        RunEvent(workspace_id=run.workspace_id, run=run, seq=seq, event="message.delta", data=delta(run, seq).data)
        for seq in (1, 2, 3, 4)
    )
    reader = asyncio.create_task(elsewhere(run, 1))
    await asyncio.sleep(0.3)
    end = numbered(run.pk, 5, Event(EventName.RUN_COMPLETED, {"answer": {}}))
    await store.publish(run.pk, [end])

    assert [event.seq for event in await asyncio.wait_for(reader, 5)] == [2, 3, 4, 5]


async def test_a_database_that_is_away_is_waited_for_by_readers(run, monkeypatch):
    monkeypatch.setattr(store, "POLL_SECONDS", 0.01)
    await Run._unscoped.filter(pk=run.pk).aupdate(status=RunStatus.COMPLETED)
    calls = []
    real = store.stored_events

    def stored_events(*args):
        calls.append(args)
        if len(calls) < 3:
            raise OperationalError("gone")
        return real(*args)

    monkeypatch.setattr(store, "stored_events", stored_events)

    assert await elsewhere(run) == []
    assert len(calls) == 3


async def test_a_database_that_stays_away_ends_the_readers(run, monkeypatch):
    monkeypatch.setattr(store, "DATABASE_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(store, "POLL_SECONDS", 0.01)

    def stored_events(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(store, "stored_events", stored_events)

    with pytest.raises(OperationalError):
        await elsewhere(run)


async def test_a_flush_repeated_after_a_lost_acknowledgement_stores_each_event_once(run):
    events = [delta(run, 1), delta(run, 2)]

    for _ in range(2):
        standing = await sync_to_async(store.flush)(run, events, "1 2 ")

    assert standing == store.Standing()
    assert await RunEvent._unscoped.filter(run=run).acount() == 2
    assert (await Run._unscoped.aget(pk=run.pk)).content == "1 2 "


async def test_a_flush_of_a_run_that_was_ended_elsewhere_writes_nothing(run):
    await Run._unscoped.filter(pk=run.pk).aupdate(status=RunStatus.INCOMPLETE, content="Twenty")

    standing = await sync_to_async(store.flush)(run, [delta(run, 1)], "Twenty five")

    assert standing.lost
    assert (await Run._unscoped.aget(pk=run.pk)).content == "Twenty"
    assert not await RunEvent._unscoped.filter(run=run).aexists()


async def test_a_flush_that_fails_is_made_up_for(run, monkeypatch):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.05)
    real, calls = store.flush, []

    def flush(*args):
        calls.append(args)
        if len(calls) < 3:
            raise OperationalError("gone")
        return real(*args)

    monkeypatch.setattr(store, "flush", flush)
    await live.start(run, Script(texts=["x"] * 20, pause=0.05).work(run))

    assert (await live.wait(run.pk))["content"] == "x" * 20
    assert await RunEvent._unscoped.filter(run=run).acount() == 22
