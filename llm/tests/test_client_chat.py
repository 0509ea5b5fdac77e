import asyncio
import time
from contextlib import aclosing

import pytest

from core.exceptions import Conflict, MagnetError, ServiceUnavailable, UpstreamError
from core.ids import uuid7
from llm.client import stream_chat
from llm.tests.conftest import KEY
from magnet.tests.scripted_answers import ANSWER
from observability.choices import SpanStatus
from observability.tracing import TraceRecorder, recording
from plugins.contracts import ChatDelta, ChatMessage, ChatRequest, FinishReason, MessageRole, TokenUsage

HALF = "Half an answer"


def request(**settings) -> ChatRequest:
    messages = (ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(MessageRole.USER, "What is it?"))
    return ChatRequest(model="", messages=messages, **settings)


async def said(model, asked: ChatRequest | None = None, **options) -> tuple[str, ChatDelta]:
    """The whole text and the last delta."""
    deltas = [delta async for delta in stream_chat(model, asked or request(), **options)]
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_an_answer_streams_and_ends_with_reason_usage_and_model(model_of, scripted):
    deltas = [delta async for delta in stream_chat(model_of("ok"), request(temperature=0.5, max_tokens=99))]

    assert "".join(delta.text for delta in deltas) == ANSWER
    assert len(deltas) > 5
    assert deltas[-1] == ChatDelta(
        finish_reason=FinishReason.STOP,
        usage=TokenUsage(input_tokens=5, output_tokens=10, cached_input_tokens=3, reasoning_tokens=2),
        model="ok-2026",
    )
    body = scripted.calls[0].body
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is it?"},
    ]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("ok", 0.5, 99)
    assert "top_p" not in body
    assert scripted.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "identifier, reason", [("length", FinishReason.LENGTH), ("filtered", FinishReason.CONTENT_FILTER)]
)
async def test_the_finish_reason_is_the_vendors(model_of, identifier, reason):
    assert (await said(model_of(identifier)))[1].finish_reason is reason


@pytest.mark.parametrize("identifier", ["no-done", "odd-lines"])
async def test_oddities_of_a_stream_are_taken(model_of, identifier):
    text, last = await said(model_of(identifier))

    assert (text, last.finish_reason) == (ANSWER, FinishReason.STOP)


async def test_missing_usage_is_estimated_and_marked(model_of):
    _, last = await said(model_of("no-usage"))

    assert last.usage is not None
    assert last.usage.estimated
    assert last.usage.input_tokens > 0
    assert last.usage.output_tokens > 0


@pytest.mark.parametrize(
    "identifier", ["cut", "cut-chunked", "cut-in-character", "error-frame", "junk-frames", "stall"]
)
async def test_what_breaks_off_keeps_its_text_and_says_so(model_of, identifier, scripted):
    text, last = await said(model_of(identifier, timeout_seconds=1))

    assert text == HALF
    assert last.finish_reason is FinishReason.PROVIDER_CUT
    assert last.usage is not None
    assert last.usage.estimated
    assert len(scripted.calls) == 1


async def test_a_stream_that_ends_before_a_word_is_retried(model_of, scripted):
    text, _ = await said(model_of("cut-at-once"))

    assert text == ANSWER
    assert len(scripted.calls) == 2


async def test_a_rate_limit_waits_as_it_is_told(model_of, scripted):
    text, _ = await said(model_of("rate-limited-once"))

    first, second = scripted.calls
    assert text == ANSWER
    assert 1.0 <= second.at - first.at < 3


async def test_a_wait_that_is_too_long_is_handed_to_the_caller(model_of, scripted):
    with pytest.raises(ServiceUnavailable) as caught:
        await said(model_of("rate-limited"))

    assert caught.value.retry_after == 120
    assert len(scripted.calls) == 1


async def test_what_may_pass_is_retried(model_of, scripted):
    text, _ = await said(model_of("unavailable-twice"))

    assert text == ANSWER
    assert len(scripted.calls) == 3


@pytest.mark.parametrize(
    "identifier", ["unauthorized", "fails-twice", "refuses-request", "not-json", "error-frame-first", "no-such-model"]
)
async def test_what_will_not_pass_is_not_retried(model_of, identifier, scripted):
    with pytest.raises(UpstreamError):
        await said(model_of(identifier))

    assert len(scripted.calls) == 1


@pytest.mark.parametrize(
    "identifier", ["unauthorized", "fails-twice", "refuses-request", "rate-limited", "error-frame-first", "not-json"]
)
async def test_no_word_of_the_vendor_and_no_key_leaves(model_of, identifier):
    with pytest.raises(MagnetError) as caught:
        await said(model_of(identifier))

    shown = f"{caught.value} {caught.value.__cause__} {caught.value.errors}"
    assert not any(secret in shown for secret in (KEY, "sk-", "Bearer", "scripted failure", "overloaded, key", "html"))
    assert f"Model '{identifier}' of provider 'scripted'." in shown


async def test_a_redirect_takes_no_key_along(model_of, scripted):
    with pytest.raises(UpstreamError):
        await said(model_of("redirects"))

    assert len(scripted.calls) == 1


async def test_a_provider_that_is_silent_is_given_up_at_the_deadline(model_of, scripted):
    started = time.monotonic()

    with pytest.raises(ServiceUnavailable, match=r"took longer than 0\.5 s in all"):
        await said(model_of("hang"), deadline=0.5)

    assert time.monotonic() - started < 2


async def test_the_deadline_of_the_whole_keeps_the_text(model_of):
    text, last = await said(model_of("slow"), deadline=0.5)

    assert text.startswith("word word")
    assert last.finish_reason is FinishReason.PROVIDER_CUT


async def test_a_slow_reader_is_not_struck_by_the_deadline(model_of):
    async with aclosing(stream_chat(model_of("ok"), request(), deadline=0.3)) as deltas:
        first = await anext(deltas)
        await asyncio.sleep(0.5)

    assert first.text


async def test_a_connection_that_is_refused_is_unavailable(model_of, settings):
    settings.OUTBOUND_ALLOW = {"provider": frozenset({"127.0.0.1:9"})}
    model = model_of("ok")
    model.provider.base_url = "http://127.0.0.1:9/v1"

    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        await said(model)


async def test_an_address_that_is_not_allowed_is_never_called(model_of, settings, scripted):
    settings.OUTBOUND_ALLOW = {}

    with pytest.raises(UpstreamError, match=r"Only the ports 80 and 443|not known or not a public"):
        await said(model_of("ok"))

    assert scripted.calls == []


async def test_leaving_ends_the_call(model_of, scripted):
    async with aclosing(stream_chat(model_of("slow"), request())) as deltas:
        await anext(deltas)

    await asyncio.to_thread(scripted.until_idle, 2)
    assert scripted.calls[0].abandoned


async def test_cancelling_ends_the_call(model_of, scripted):
    task = asyncio.create_task(said(model_of("slow")))
    await asyncio.sleep(0.3)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    await asyncio.to_thread(scripted.until_idle, 2)
    assert scripted.calls[0].abandoned


async def test_connections_are_used_again(model_of, scripted):
    for _ in range(3):
        await said(model_of("ok"))

    assert len({call.connection for call in scripted.calls}) == 1


async def test_a_changed_provider_gets_a_new_connection_and_ends_the_old_calls_in_peace(model_of, scripted):
    model = model_of("slow")
    old = stream_chat(model, request(), deadline=1)
    await anext(old)
    model.provider.version += 1
    model.provider.api_key = "sk-new"

    await said(model_of("ok"))
    rest = "".join([delta.text async for delta in old])

    assert scripted.calls[1].headers["authorization"] == "Bearer sk-new"
    assert "word word" in rest


async def test_what_is_switched_off_is_refused_by_name(model_of, scripted):
    model = model_of("ok", is_active=False)
    with pytest.raises(Conflict, match="The model 'ok' is switched off"):
        await said(model)
    model.is_active, model.provider.is_active = True, False
    with pytest.raises(Conflict, match="The provider 'scripted' of the model 'ok' is switched off"):
        await said(model)
    with pytest.raises(Conflict, match="of the kind 'embedding'"):
        await said(model_of("embed"))

    assert scripted.calls == []


async def test_the_environments_credentials_do_not_leak_into_a_providers_calls(model_of, scripted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-environment")
    model = model_of("ok")
    model.provider.api_key = ""

    await said(model)

    assert not any("environment" in value for value in scripted.calls[0].headers.values())


# --- traces


@pytest.fixture
def recorder() -> TraceRecorder:
    return TraceRecorder(name="test", kind="test", workspace_id=uuid7())


async def test_a_call_leaves_a_span_and_a_usage_record(model_of, recorder):
    with recording(recorder):
        await said(model_of("ok"))

    span, usage = recorder.spans[0], recorder.usage[0]
    told = ("magnet.requests", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.finish_reasons")
    used = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert {name: span.attributes[name] for name in (*told, *used)} == {
        "gen_ai.request.model": "ok",
        "gen_ai.response.model": "ok-2026",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 10,
        "magnet.requests": 1,
    }
    assert (usage.model_identifier, usage.input_tokens, usage.output_tokens, usage.estimated) == (
        "ok-2026",
        5,
        10,
        False,
    )
    assert usage.duration_ms > 0


async def test_a_failed_call_is_recorded_as_one(model_of, recorder):
    with recording(recorder), pytest.raises(UpstreamError):
        await said(model_of("unauthorized"))

    assert recorder.spans[0].status is SpanStatus.ERROR
    assert (recorder.usage[0].status, recorder.usage[0].output_tokens) == (SpanStatus.ERROR, 0)


async def test_a_call_that_was_left_is_paid_for(model_of, recorder):
    with recording(recorder):
        async with aclosing(stream_chat(model_of("slow"), request())) as deltas:
            for _ in range(5):
                await anext(deltas)

    assert recorder.usage[0].estimated
    assert recorder.usage[0].output_tokens > 0
