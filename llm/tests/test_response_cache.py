"""Answers that are given again to exactly the same request."""

import asyncio
from dataclasses import replace

import pytest

from core.ids import uuid7
from core.valkey import async_client
from llm import response_cache
from llm.client import stream_chat
from llm.tests.test_client_chat import request, said
from magnet.tests.scripted_answers import ANSWER
from observability.choices import ObservabilityLevel
from observability.tracing import TraceRecorder, recording
from plugins.contracts import ChatMessage, FinishReason, MessageRole, TokenUsage, ToolSpec


@pytest.fixture(autouse=True)
def recorder():
    """As in a run: outside of one nothing is kept."""
    with recording(TraceRecorder(name="t", kind="t", workspace_id=uuid7())) as recorder:
        yield recorder


@pytest.fixture
def cached(model_of):
    """A model that repeats its answers, in a workspace of its own."""

    def make(identifier: str, **fields):
        return model_of(identifier, **{"cache_seconds": 60, "workspace_id": uuid7(), **fields})

    return make


async def test_the_same_request_gets_the_same_answer_for_nothing(cached, scripted):
    model, recorder = cached("ok"), TraceRecorder(name="t", kind="t", workspace_id=uuid7())
    first = [delta async for delta in stream_chat(model, request())]

    with recording(recorder):
        again = [delta async for delta in stream_chat(model, request())]

    assert len(scripted.calls) == 1
    assert [delta.text for delta in again] == [delta.text for delta in first]
    assert again[-1].finish_reason is FinishReason.STOP
    assert (again[-1].usage, again[-1].model) == (TokenUsage(), "ok-2026")
    assert recorder.spans[0].attributes["magnet.cached"] is True
    assert recorder.spans[0].attributes["magnet.requests"] == 0
    assert (recorder.usage[0].input_tokens, recorder.usage[0].output_tokens) == (0, 0)


async def test_a_model_that_did_not_ask_for_it_is_asked_each_time(model_of, scripted):
    model = model_of("ok")

    for _ in range(2):
        await said(model)

    assert len(scripted.calls) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"seed": 1},
        {"stop": ("x",)},
        {"messages": (ChatMessage(MessageRole.USER, "What is it ?"),)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_another_request_is_another_question(cached, scripted, change):
    model = cached("ok")
    await said(model)

    await said(model, replace(request(), **change))

    assert len(scripted.calls) == 2


async def test_workspaces_models_and_versions_share_nothing(cached, scripted):
    model = cached("ok")
    await said(model)

    await said(cached("ok"))
    model.workspace_id = uuid7()
    await said(model)
    model.provider.version += 1
    await said(model)

    assert len(scripted.calls) == 4


@pytest.mark.parametrize("identifier", ["cut", "length", "filtered", "stall"])
async def test_what_is_not_whole_is_not_kept(cached, scripted, identifier):
    model = cached(identifier, timeout_seconds=1)

    for _ in range(2):
        await said(model)

    assert len(scripted.calls) == 2


async def test_an_answer_that_was_left_is_not_kept(cached, scripted):
    model = cached("slow")
    stream = stream_chat(model, request())
    await anext(stream)
    await stream.aclose()

    stream = stream_chat(model, request())
    await anext(stream)
    await stream.aclose()

    assert len(scripted.calls) == 2


@pytest.mark.parametrize(
    "asked",
    [
        replace(request(), tools=(ToolSpec("now", "The time", {"type": "object"}),)),
        replace(
            request(),
            messages=(*request().messages, ChatMessage(MessageRole.TOOL, "noon", tool_call_id="call_1")),
        ),
    ],
    ids=["tools", "a tool's answer"],
)
async def test_what_has_to_do_with_tools_is_never_repeated(cached, scripted, asked):
    model = cached("ok")

    for _ in range(2):
        await said(model, asked)

    assert len(scripted.calls) == 2


async def test_what_a_fallback_said_is_not_kept_for_the_model(chained, scripted):
    model = chained("unauthorized", "ok")
    model.cache_seconds, model.workspace_id = 60, uuid7()

    for _ in range(2):
        await said(model)

    assert len(scripted.calls_of("ok")) == 2


async def test_a_run_whose_contents_are_not_kept_leaves_none_here(cached, scripted, recorder):
    recorder.capture = ObservabilityLevel.NONE
    model = cached("ok")

    for _ in range(2):
        await said(model)

    assert len(scripted.calls) == 2


async def test_it_ends_with_its_time(cached, scripted):
    model = cached("ok", cache_seconds=1)
    await said(model)

    await asyncio.sleep(1.2)
    await said(model)

    assert len(scripted.calls) == 2


async def test_a_workspace_has_room_for_so_much_and_the_oldest_goes(cached, scripted, monkeypatch):
    monkeypatch.setattr(response_cache, "WORKSPACE_BYTES", 600)
    model = cached("echo")
    questions = [replace(request(), messages=(ChatMessage(MessageRole.USER, f"{n} " + "w" * 150),)) for n in range(4)]
    for question in questions:
        await said(model, question)

    await said(model, questions[3])
    assert len(scripted.calls) == 4
    await said(model, questions[0])
    assert len(scripted.calls) == 5
    sizes = await async_client().hgetall(f"magnet:answers:{{{model.workspace_id}}}:sizes")
    total = int(sizes.pop(b"total"))
    assert total == sum(map(int, sizes.values())) <= 600


async def test_too_large_an_answer_is_not_kept(cached, scripted, monkeypatch):
    monkeypatch.setattr(response_cache, "ANSWER_BYTES", 50)
    model = cached("ok")

    for _ in range(2):
        await said(model)

    assert len(scripted.calls) == 2


async def test_without_valkey_the_model_is_asked(cached, scripted, valkey_away):
    model = cached("ok")

    texts = [(await said(model))[0] for _ in range(2)]

    assert texts == [ANSWER, ANSWER]
    assert len(scripted.calls) == 2
