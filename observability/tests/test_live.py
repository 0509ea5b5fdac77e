"""Runs as tasks of this process: their events, their ends, their readers."""

import asyncio
import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection, connections

from core import lifecycle
from core.exceptions import ServiceUnavailable
from observability.choices import RunStatus, SpanStatus
from observability.models import Run, RunEvent, Trace
from observability.runs import closing, live, store
from observability.runs.events import Event, EventName
from observability.tests.engines import Script
from observability.tests.factories import RunFactory

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
async def run() -> Run:
    return await sync_to_async(RunFactory)()


@pytest.fixture(autouse=True)
async def no_run_is_left():
    yield
    await live.shutdown()
    await sync_to_async(connections.close_all)()
    assert live._live == {}


async def told(run: Run, after: int = 0) -> list:
    return [event async for event in live.follow(run.pk, after)]


async def row(run: Run) -> Run:
    return await Run._unscoped.aget(pk=run.pk)


async def rows_of(run: Run) -> list[RunEvent]:
    return [one async for one in RunEvent._unscoped.filter(run=run).order_by("seq")]


async def until(condition, seconds: float = 5.0) -> None:
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.02)


# --- events and the end


async def test_a_run_tells_its_events_in_order_and_ends_once(run):
    await live.start(run, Script().work(run))

    events = await told(run)

    names = [event.name for event in events]
    assert names == ["run.started", *["message.delta"] * 3, "run.completed"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert all((event.data["run_id"], event.data["seq"]) == (str(run.pk), event.seq) for event in events)


async def test_the_end_stores_answer_events_trace_and_usage_together(run):
    script = Script()
    await live.start(run, script.work(run))

    answer = await live.wait(run.pk)

    stored = await row(run)
    assert stored.status == RunStatus.COMPLETED
    assert (stored.content, stored.finish_reason, stored.model) == ("Twenty five days.", "stop", "scripted")
    assert stored.answer == answer
    assert answer["status"] == "completed"
    assert answer["trace_id"] == str(stored.trace_id)
    assert (stored.last_seq, stored.lease_expires_at) == (5, None)
    assert [one.event for one in await rows_of(run)][-1] == "run.completed"
    assert (await rows_of(run))[-1].data["answer"] == answer
    assert (await Trace._unscoped.aget(pk=stored.trace_id)).status == SpanStatus.OK
    assert script.closed == 1


async def test_an_answer_that_was_cut_off_is_incomplete(run):
    await live.start(run, Script(complete=False).work(run))

    answer = await live.wait(run.pk)

    assert (answer["status"], answer["finish_reason"]) == ("incomplete", "provider_cut")
    assert (await row(run)).status == RunStatus.INCOMPLETE


async def test_an_engines_error_is_a_problem_and_its_text_is_kept(run):
    await live.start(run, Script(raises=ServiceUnavailable("The model is away.", retry_after=3)).work(run))

    with pytest.raises(live.RunFailed) as failure:
        await live.wait(run.pk)

    stored = await row(run)
    assert (failure.value.status, failure.value.code, failure.value.detail) == (
        503,
        "unavailable",
        "The model is away.",
    )
    assert (stored.status, stored.content) == (RunStatus.FAILED, "Twenty five days.")
    assert stored.problem["status"] == 503
    assert (await rows_of(run))[-1].event == "run.failed"
    assert (await Trace._unscoped.aget(pk=stored.trace_id)).status == SpanStatus.ERROR


async def test_an_unexpected_error_tells_nothing_of_itself(run):
    await live.start(run, Script(raises=RuntimeError("secret sk-123")).work(run))

    event = (await told(run))[-1]

    assert event.name == EventName.RUN_FAILED
    assert event.data["problem"]["code"] == "internal_error"
    assert "sk-123" not in json.dumps(event.data)


async def test_a_cancellation_from_inside_is_a_failure(run):
    await live.start(run, Script(raises=asyncio.CancelledError()).work(run))

    assert (await told(run))[-1].data["problem"]["code"] == "internal_error"


async def test_an_engine_may_not_end_the_run_itself(run):
    early = Event(EventName.RUN_COMPLETED, {"answer": {}})
    await live.start(run, Script(before=[early]).work(run))

    assert [event.name for event in await told(run)] == ["run.started", "run.failed"]


async def test_a_run_over_its_time_is_incomplete_with_its_text(run, monkeypatch):
    monkeypatch.setattr(live, "RUN_SECONDS", 0.2)
    script = Script(hangs=True)
    await live.start(run, script.work(run))

    answer = await live.wait(run.pk)

    assert (answer["status"], answer["finish_reason"]) == ("incomplete", "limit_reached")
    assert answer["content"] == "Twenty five days."
    assert script.ended


async def test_what_an_engine_cannot_close_is_kept_poorly(run):
    await live.start(run, Script(close_raises=ValueError("a mistake")).work(run))

    events = await told(run)

    stored = await row(run)
    assert [event.name for event in events][-1] == EventName.RUN_FAILED
    assert (stored.status, stored.content) == (RunStatus.FAILED, "Twenty five days.")
    assert stored.problem["code"] == "internal_error"
    assert stored.last_seq == 5


async def test_text_that_postgres_refuses_is_replaced(run):
    await live.start(run, Script(texts=["a\x00b", "c\ud800d"]).work(run))

    events = await told(run)

    assert [event.data["text"] for event in events[1:3]] == ["a\ufffdb", "c\ufffdd"]
    assert (await row(run)).content == "a\ufffdbc\ufffdd"
    assert (await row(run)).answer["content"] == "a\ufffdbc\ufffdd"


async def test_data_that_is_no_json_fails_the_run_not_the_platform(run):
    odd = Event(EventName.USAGE, {"value": object()})
    await live.start(run, Script(before=[odd]).work(run))

    assert [event.name for event in await told(run)] == ["run.started", "run.failed"]


async def test_long_retrieval_texts_are_cut_under_the_frame_limit(run):
    results = [{"chunk_id": str(n), "text": "ü" * 9000} for n in range(40)]
    found = Event(EventName.RETRIEVAL_COMPLETED, {"results": results})
    await live.start(run, Script(before=[found]).work(run))

    retrieved = (await told(run))[1]

    assert len(json.dumps(retrieved.data, ensure_ascii=False).encode()) < 64 * 1024
    assert retrieved.data["truncated"] is True
    assert [one["chunk_id"] for one in retrieved.data["results"]] == [str(n) for n in range(40)]
    assert retrieved.data["results"][0]["text"].startswith("üüü")


async def test_a_long_delta_becomes_several_and_nothing_is_lost(run):
    text = "word " * 30_000
    await live.start(run, Script(texts=[text]).work(run))

    events = await told(run)

    deltas = [event.data["text"] for event in events if event.name == EventName.MESSAGE_DELTA]
    assert "".join(deltas) == text
    assert max(len(json.dumps(event.data)) for event in events[:-1]) < 64 * 1024


# --- flushing


async def test_text_and_lease_are_stored_each_second_while_it_runs(run):
    before = run.lease_expires_at
    await live.start(run, Script(hangs=True).work(run))

    async def flushed() -> bool:
        return (await row(run)).content == "Twenty five days."

    await until(flushed, 3)
    stored = await row(run)
    assert stored.status == RunStatus.RUNNING
    assert stored.last_seq == 4
    assert stored.lease_expires_at > before
    assert [one.seq for one in await rows_of(run)] == [1, 2, 3, 4]


async def test_no_database_connection_is_held_while_tokens_flow(run):
    await live.start(run, Script(hangs=True).work(run))
    await asyncio.sleep(1.3)

    def idle() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
            return cursor.fetchone()[0]

    assert await sync_to_async(idle)() == 0


async def test_an_end_during_a_flush_stores_every_event_once(run, monkeypatch):
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(live, "PUBLISH_SECONDS", 0.0)
    for _ in range(10):
        one = await sync_to_async(RunFactory)()
        await live.start(one, Script(texts=["x"] * 40, pause=0.001).work(one))
        assert (await live.wait(one.pk))["status"] == "completed"
        assert [event.seq for event in await rows_of(one)] == list(range(1, 43))


async def test_a_database_that_is_away_at_the_end_is_waited_for(run, monkeypatch):
    tries, real = [], closing.close_row

    def close_row(unclosed):
        tries.append(unclosed)
        if len(tries) < 3:
            raise OperationalError("gone")
        return real(unclosed)

    monkeypatch.setattr(closing, "close_row", close_row)
    monkeypatch.setattr(closing, "PAUSE_SECONDS", 0.01)
    await live.start(run, Script().work(run))

    assert (await live.wait(run.pk))["status"] == "completed"
    assert len(tries) == 3
    assert (await row(run)).status == RunStatus.COMPLETED


async def test_a_database_that_stays_away_still_ends_the_stream(run, monkeypatch):
    def close_row(_unclosed):
        raise OperationalError("gone")

    monkeypatch.setattr(closing, "close_row", close_row)
    monkeypatch.setattr(closing, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(closing, "PAUSE_SECONDS", 0.01)
    await live.start(run, Script().work(run))

    last = (await told(run))[-1]

    assert (last.name, last.seq) == (EventName.RUN_FAILED, 5)
    assert last.data["problem"]["code"] == "database_unavailable"
    assert (await row(run)).status == RunStatus.RUNNING


async def test_a_commit_that_was_not_acknowledged_is_not_repeated(run, monkeypatch):
    real = closing.close_row

    def close_row(unclosed):
        monkeypatch.setattr(closing, "close_row", real)
        real(unclosed)
        raise OperationalError("the connection broke after the commit")

    monkeypatch.setattr(closing, "close_row", close_row)
    monkeypatch.setattr(closing, "PAUSE_SECONDS", 0.01)
    script = Script()
    await live.start(run, script.work(run))

    answer = await live.wait(run.pk)

    assert answer == (await row(run)).answer
    assert [one.seq for one in await rows_of(run)] == [1, 2, 3, 4, 5]
    assert script.closed == 1


# --- cancelling and readers


async def test_cancelling_keeps_the_text_and_closes_the_engine(run):
    script = Script(hangs=True)
    await live.start(run, script.work(run))
    reader = asyncio.create_task(told(run))
    await asyncio.sleep(0.1)

    await live.cancel(run.pk)
    last = (await reader)[-1]

    stored = await row(run)
    assert last.name == EventName.RUN_CANCELLED
    assert last.data["answer"]["status"] == "cancelled"
    assert (stored.status, stored.finish_reason) == (RunStatus.CANCELLED, "cancelled")
    assert stored.content == "Twenty five days."
    assert script.ended


async def test_cancelling_before_the_first_step_still_ends_the_run(run):
    starting = asyncio.create_task(live.start(run, Script().work(run)))
    await asyncio.sleep(0)
    await live.cancel(run.pk)
    await starting

    assert (await told(run))[-1].name == EventName.RUN_CANCELLED


async def test_cancelling_twice_ends_it_once(run):
    await live.start(run, Script(hangs=True).work(run))
    await asyncio.sleep(0.05)

    await live.cancel(run.pk)
    await asyncio.sleep(0)
    await live.cancel(run.pk)
    events = await told(run)

    assert [event.name for event in events].count(EventName.RUN_CANCELLED) == 1
    assert [one.event for one in await rows_of(run)].count("run.cancelled") == 1


async def test_cancelling_a_finished_run_changes_nothing(run):
    await live.start(run, Script().work(run))
    answer = await live.wait(run.pk)

    await live.cancel(run.pk)

    assert (await row(run)).answer == answer
    assert (await row(run)).cancel_requested_at is None


async def test_another_process_cancels_within_about_a_second(run):
    await live.start(run, Script(hangs=True).work(run))
    await asyncio.sleep(0.05)

    await sync_to_async(store.mark_cancelled)(run.pk)
    began = time.monotonic()
    last = (await told(run))[-1]

    assert last.name == EventName.RUN_CANCELLED
    assert time.monotonic() - began < 2.5


async def test_a_waiter_that_goes_away_cancels_its_run(run):
    await live.start(run, Script(hangs=True).work(run))
    waiter = asyncio.create_task(live.wait(run.pk))
    await asyncio.sleep(0.05)

    waiter.cancel()

    assert (await told(run))[-1].name == EventName.RUN_CANCELLED


async def test_a_run_without_a_reader_is_cancelled_after_a_while(run, monkeypatch):
    monkeypatch.setattr(store, "LINGER", store.LINGER / 30)
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.1)
    script = Script(hangs=True)
    began = time.monotonic()
    await live.start(run, script.work(run))

    async def ended() -> bool:
        return (await row(run)).status == RunStatus.CANCELLED

    await until(ended, 4)
    assert time.monotonic() - began > 1.0
    assert (await row(run)).finish_reason == "no_reader"
    assert script.ended


async def test_a_reader_keeps_it_alive_here_or_in_another_process(run, monkeypatch):
    monkeypatch.setattr(store, "LINGER", store.LINGER / 30)
    monkeypatch.setattr(store, "READ_MARK", store.READ_MARK / 20)
    monkeypatch.setattr(live, "FLUSH_SECONDS", 0.1)
    await live.start(run, Script(hangs=True).work(run))

    async def elsewhere() -> None:
        async for _ in store.follow_stored(run.pk, 0):
            pass

    reader = asyncio.create_task(elsewhere())
    await asyncio.sleep(2.5)
    assert (await row(run)).status == RunStatus.RUNNING

    reader.cancel()
    here = asyncio.create_task(told(run))
    await asyncio.sleep(1.5)
    assert (await row(run)).status == RunStatus.RUNNING
    here.cancel()


async def test_a_slow_reader_does_not_block_the_run(run):
    await live.start(run, Script(texts=["x"] * 500).work(run))
    slow = live.follow(run.pk)

    first = await anext(slow)
    answer = await live.wait(run.pk)
    rest = [event async for event in slow]

    assert answer["status"] == "completed"
    assert [first.seq, *[event.seq for event in rest]] == list(range(1, 503))


async def test_two_readers_get_the_same_events(run):
    await live.start(run, Script(pause=0.01).work(run))

    one, two = await asyncio.gather(told(run), told(run))

    assert one == two
    assert len(one) == 5


async def test_a_reader_resumes_behind_what_it_saw(run):
    await live.start(run, Script(hangs=True).work(run))
    await asyncio.sleep(0.1)
    resumed = asyncio.create_task(told(run, 2))
    from_the_future = asyncio.create_task(told(run, 999))
    await asyncio.sleep(0.05)

    await live.cancel(run.pk)

    assert [event.seq for event in await resumed] == [3, 4, 5]
    assert [event.name for event in await from_the_future] == [EventName.RUN_CANCELLED]


async def test_a_finished_run_is_replayed_from_where_the_reader_was(run):
    await live.start(run, Script().work(run))
    whole = await told(run)

    assert await told(run) == whole
    assert await told(run, 3) == whole[3:]
    assert await told(run, 5) == []
    assert await told(run, 99) == whole[-1:]


# --- shutdown


async def test_shutdown_ends_every_run_with_an_event_and_its_text(run):
    other = await sync_to_async(RunFactory)()
    await live.start(run, Script(hangs=True).work(run))
    await live.start(other, Script(texts=["a"], hangs=True).work(other))
    readers = [asyncio.create_task(told(one)) for one in (run, other)]
    await asyncio.sleep(0.1)

    await live.shutdown()

    for events in await asyncio.gather(*readers):
        assert events[-1].name == EventName.RUN_CANCELLED
        assert events[-1].data["answer"]["finish_reason"] == "shutdown"
    assert [(await row(one)).content for one in (run, other)] == ["Twenty five days.", "a"]


async def test_shutdown_waits_for_a_run_that_is_being_closed(run, monkeypatch):
    real = closing.close_row

    def slow(unclosed):
        time.sleep(0.5)
        return real(unclosed)

    monkeypatch.setattr(closing, "close_row", slow)
    await live.start(run, Script().work(run))
    await asyncio.sleep(0.2)

    await live.shutdown()

    assert (await row(run)).status == RunStatus.COMPLETED


async def test_a_process_on_its_way_out_begins_no_engine(run, monkeypatch):
    monkeypatch.setattr(lifecycle, "stopping", lambda: True)
    script = Script()
    await live.start(run, script.work(run))

    async def ended() -> bool:
        return (await row(run)).status == RunStatus.CANCELLED

    await until(ended)
    assert script.content == ""


# --- another process took it


async def test_a_run_that_the_sweeper_closed_takes_no_late_writes(run, monkeypatch):
    from observability.sweeper import sweep

    script = Script(texts=["Twenty "], hangs=True)
    await live.start(run, script.work(run))
    await asyncio.sleep(1.3)
    await Run._unscoped.filter(pk=run.pk).aupdate(lease_expires_at="2020-01-01T00:00:00Z")
    script.content += "five"
    assert (await sync_to_async(sweep)()).runs_closed == 1

    last = (await told(run))[-1]

    stored = await row(run)
    assert last.name == EventName.RUN_COMPLETED
    assert last.data["answer"] == stored.answer
    assert (stored.status, stored.content, stored.finish_reason) == (RunStatus.INCOMPLETE, "Twenty ", "process_lost")
    assert [one.event for one in await rows_of(run)].count("run.completed") == 1
    assert script.closed == 0


async def test_a_run_whose_workspace_was_deleted_ends_its_stream(run):
    await live.start(run, Script(hangs=True).work(run))
    await asyncio.sleep(0.05)
    workspace = await sync_to_async(lambda: run.workspace)()
    await sync_to_async(workspace.delete)()

    assert (await told(run))[-1].name == EventName.RUN_FAILED
