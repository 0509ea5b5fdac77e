"""Traces in the making, and what may stand in a row."""

import asyncio
import math
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from accounts.tests.factories import MembershipFactory, principal_of
from observability.choices import ObservabilityLevel, Operation, SpanStatus
from observability.models import Span, Trace, UsageRecord
from observability.plain import plain, plain_text
from observability.runs.events import Event, EventName
from observability.runs.frames import FRAME_BYTES, framed
from observability.tests.factories import RunFactory
from observability.tracing import (
    TraceRecorder,
    UsageEntry,
    level_now,
    level_of,
    record_usage,
    recording,
    span,
    start_trace,
)


@pytest.fixture
def recorder() -> TraceRecorder:
    return TraceRecorder("rag handbook-qa", "rag_tool", uuid.uuid4())


def entry(tokens: int) -> UsageEntry:
    return UsageEntry(Operation.CHAT, "openai", "openai", "small", "small-2026", input_tokens=tokens, output_tokens=2)


# --- spans


def test_spans_inside_of_spans_are_their_children(recorder):
    with recording(recorder), span("outer", Operation.RUN) as outer:
        with span("one", Operation.RETRIEVAL, k=3) as one:
            one.set(found=2)
        with span("two", Operation.CHAT):
            pass

    assert [(s.name, s.parent_id) for s in recorder.spans] == [("outer", None), ("one", outer.id), ("two", outer.id)]
    assert recorder.spans[1].attributes == {"gen_ai.operation.name": "retrieval", "k": 3, "found": 2}
    assert recorder.spans[0].duration_ms >= recorder.spans[1].duration_ms


def test_an_exception_marks_its_span_and_goes_on(recorder):
    with recording(recorder), pytest.raises(KeyError), span("one", Operation.CHAT):
        raise KeyError("secret")

    assert (recorder.spans[0].status, recorder.spans[0].error) == (SpanStatus.ERROR, "KeyError")


async def test_tasks_at_the_same_time_do_not_mix_their_spans(recorder):
    async def work(name: str) -> None:
        with span(name, Operation.RUN):
            await asyncio.sleep(0.01)
            with span(f"{name} inner", Operation.CHAT):
                await asyncio.sleep(0.01)

    with recording(recorder):
        await asyncio.gather(work("a"), work("b"))

    ids = {one.id: one.name for one in recorder.spans}
    assert {(one.name, ids.get(one.parent_id)) for one in recorder.spans} == {
        ("a", None),
        ("b", None),
        ("a inner", "a"),
        ("b inner", "b"),
    }


async def test_a_generator_closed_from_another_context_does_no_harm(recorder):
    async def engine():
        with span("engine", Operation.RUN):
            yield 1
            yield 2

    with recording(recorder):
        events = engine()
        await asyncio.create_task(anext(events))
        await events.aclose()

    assert recorder.spans[0].name == "engine"


def test_a_recording_begins_its_own_tree(recorder):
    with span("outside", Operation.RUN), recording(recorder), span("inside", Operation.RUN):
        pass

    assert [(s.name, s.parent_id) for s in recorder.spans] == [("inside", None)]


def test_outside_of_a_trace_nothing_is_kept():
    with span("one", Operation.CHAT) as one:
        record_usage(entry(1))

    assert one.duration_ms > 0


# --- rows


@pytest.mark.django_db
def test_trace_spans_and_usage_are_stored_with_their_owner():
    principal = principal_of(MembershipFactory())
    run = RunFactory(workspace_id=principal.workspace_id, workspace=None)
    recorder = start_trace("rag handbook-qa", "rag_tool", principal)
    with recording(recorder), span("chat small", Operation.CHAT, answer="a\x00b", odd=math.nan):
        record_usage(entry(7))

    trace = recorder.save(run)

    assert trace.pk == recorder.id
    assert (Trace._unscoped.get().status, Trace._unscoped.get().user) == (SpanStatus.OK, principal.user)
    assert Span._unscoped.get().attributes == {
        "gen_ai.operation.name": "chat",
        "answer": "a\ufffdb",
        "odd": None,
    }
    usage = UsageRecord._unscoped.get()
    assert (usage.run, usage.trace, usage.user, usage.workspace_id) == (
        run,
        trace,
        principal.user,
        principal.workspace_id,
    )
    assert (usage.input_tokens, usage.output_tokens, usage.model_identifier) == (7, 2, "small-2026")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "failed, inner, status", [(False, True, "error"), (True, False, "error"), (False, False, "ok")]
)
def test_a_trace_is_an_error_when_its_run_or_a_root_span_is(failed, inner, status):
    recorder = start_trace("a", "b", principal_of(MembershipFactory()))
    with recording(recorder), span("root", Operation.RUN) as root:
        root.status = SpanStatus.ERROR if inner else SpanStatus.OK

    recorder.save(failed=failed)

    assert Trace._unscoped.get().status == status


# --- plain JSON


@pytest.mark.parametrize(
    "value, expected",
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (math.inf, None),
        (math.nan, None),
        ("a\x00b", "a\ufffdb"),
        ("😀", "😀"),
        ("\ud83d\ude00", "😀"),
        ("x\ud83d", "x\ufffd"),
        (EventName.USAGE, "usage"),
        (Decimal("0.10"), "0.10"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"a\x00": (1, [2])}, {"a\ufffd": [1, [2]]}),
    ],
)
def test_plain_json_is_what_postgres_and_utf_8_hold(value, expected):
    assert plain(value) == expected
    plain_text(str(plain(value))).encode()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", [object()]])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match="is not plain JSON"):
        plain(value)


# --- frames


def test_a_small_event_stays_as_it_is():
    event = Event(EventName.CITATION, {"marker": 1, "quote": "ü"})

    assert list(framed(event)) == [event]


@pytest.mark.parametrize(
    "data",
    [
        {"results": [{"text": "x" * 200_000}]},
        {"results": [{"id": n, "text": "y" * 90} for n in range(3000)]},
        {f"key {n}": n for n in range(20_000)},
    ],
)
def test_a_large_event_is_cut_and_says_so(data):
    (event,) = framed(Event(EventName.RETRIEVAL_COMPLETED, data))

    assert event.data["truncated"] is True
    assert len(str(event.data).encode()) < FRAME_BYTES + 4096


def test_an_empty_delta_stays_one_event():
    assert list(framed(Event(EventName.MESSAGE_DELTA, {"text": ""}))) == [Event(EventName.MESSAGE_DELTA, {"text": ""})]


# --- who and how much


@pytest.mark.django_db
def test_usage_says_which_tool_it_was_spent_for():
    recorder = start_trace("rag handbook-qa", "rag_tool", principal_of(MembershipFactory()), target="handbook-qa")
    with recording(recorder):
        record_usage(entry(7))

    recorder.save()

    usage = UsageRecord._unscoped.get()
    assert (usage.target_kind, usage.target_slug, usage.rolled_up) == ("rag_tool", "handbook-qa", False)


@pytest.mark.parametrize("given, level", [("none", "none"), ("full", "full"), (None, "metadata")])
def test_a_trace_keeps_what_the_variant_says(given, level):
    variant = SimpleNamespace(**({"observability_level": given} if given else {}))
    recorder = TraceRecorder("a", "b", uuid.uuid4(), capture=level_of(variant))

    with recording(recorder):
        assert level_now() == level
    assert level_now() == ObservabilityLevel.NONE
