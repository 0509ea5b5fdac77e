"""Callers that leave in the middle of an answer (H04): the vendor's call ends, and nothing of it stays or strays."""

import asyncio
import time
from contextlib import aclosing

import pytest

from core.ids import uuid7
from llm.client import stream_chat
from llm.tests.test_client_chat import said
from magnet.tests.scripted_answers import ANSWER
from observability.tracing import TraceRecorder, recording
from plugins.contracts import ChatMessage, ChatRequest, MessageRole

AT_ONCE = 12


async def leave(model, marker: str, *, cancelled: bool) -> TraceRecorder:
    """Read a few words, check that they are one's own, and go: by closing the stream, or by being cancelled."""
    request = ChatRequest(model="", messages=(ChatMessage(MessageRole.USER, marker),))
    recorder, heard = TraceRecorder(name="t", kind="t", workspace_id=uuid7()), list[str]()
    enough = asyncio.Event()

    async def listen(most: int) -> None:
        async with aclosing(stream_chat(model, request)) as deltas:
            async for delta in deltas:
                heard.append(delta.text)
                if len(heard) == 3:
                    enough.set()
                if len(heard) >= most:
                    return

    with recording(recorder):
        if cancelled:
            task = asyncio.create_task(listen(10**6))
            await enough.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await listen(3)
    assert set("".join(heard).split()) == {marker}
    (usage,) = recorder.usage
    assert usage.estimated
    assert usage.output_tokens == int(len("".join(heard)) / 3.6) + 1
    return recorder


async def cycles(model, scripted, count: int) -> None:
    for begun in range(0, count, AT_ONCE):
        await asyncio.gather(*(leave(model, f"user-{begun + n}", cancelled=bool(n % 2)) for n in range(AT_ONCE)))
    left = time.monotonic()
    await asyncio.to_thread(scripted.until_idle, 2)
    assert time.monotonic() - left < 2
    assert len(scripted.calls) == count
    assert all(call.abandoned for call in scripted.calls)
    assert (await said(model_like(model)))[0] == ANSWER


def model_like(model):
    """The same connection, for an answer that ends."""
    model.identifier = "ok"
    return model


async def test_sixty_callers_leave_nothing_behind(model_of, scripted):
    before = len(asyncio.all_tasks())

    await cycles(model_of("echo-slow"), scripted, 60)

    assert len(asyncio.all_tasks()) <= before + 1


@pytest.mark.exhaustive
async def test_five_hundred_callers_leave_nothing_behind(model_of, scripted):
    before = len(asyncio.all_tasks())

    await cycles(model_of("echo-slow"), scripted, 504)

    assert len(asyncio.all_tasks()) <= before + 1
