"""Spans of model calls by OpenTelemetry's names, and what they keep of contents at each level."""

import json
import logging
import uuid

import pytest

from core.exceptions import MagnetError
from llm.client import stream_chat
from magnet.tests.scripted_answers import ANSWER
from observability.choices import ObservabilityLevel
from observability.tracing import SpanRecord, TraceRecorder, recording
from plugins.contracts import ChatMessage, ChatRequest, MessageRole

QUESTION = "What is the sentinel Qx7?"
ASKED = ChatRequest(
    model="",
    messages=(ChatMessage(MessageRole.SYSTEM, "Be brief."), ChatMessage(MessageRole.USER, QUESTION)),
    temperature=0.5,
    max_tokens=99,
)


async def span_of(model, level: ObservabilityLevel) -> SpanRecord:
    recorder = TraceRecorder("a", "b", uuid.uuid4(), capture=level)
    with recording(recorder):
        try:
            async for _delta in stream_chat(model, ASKED):
                pass
        except MagnetError:
            pass
    return recorder.spans[0]


async def test_a_call_is_a_span_with_the_conventions_names(model_of):
    span = await span_of(model_of("ok"), ObservabilityLevel.METADATA)

    first = span.attributes.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first < 10
    named = {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.")}
    assert span.name == "chat ok"
    assert named == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "ok",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "ok-2026",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }


@pytest.mark.parametrize(
    "level, question, sizes", [("none", False, False), ("metadata", False, True), ("full", True, True)]
)
async def test_contents_follow_the_level(model_of, level, question, sizes):
    span = await span_of(model_of("ok"), ObservabilityLevel(level))

    kept = json.dumps(span.attributes)
    assert (QUESTION in kept, json.dumps(ANSWER)[1:-1] in kept, "Be brief." in kept) == (question,) * 3
    assert ("magnet.input.characters" in kept, "magnet.output.characters" in kept) == (sizes, sizes)


async def test_full_contents_have_the_conventions_form(model_of):
    span = await span_of(model_of("ok"), ObservabilityLevel.FULL)

    assert span.attributes["gen_ai.system_instructions"] == [{"type": "text", "content": "Be brief."}]
    assert span.attributes["gen_ai.input.messages"] == [
        {"role": "user", "parts": [{"type": "text", "content": QUESTION}]}
    ]
    (answer,) = span.attributes["gen_ai.output.messages"]
    assert answer == {"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}


async def test_a_failure_is_named_by_its_kind(model_of):
    span = await span_of(model_of("unauthorized"), ObservabilityLevel.METADATA)

    assert (span.status, span.attributes["error.type"]) == ("error", "unauthorized")


async def test_a_line_of_the_log_tells_the_call_and_not_its_contents(model_of, caplog):
    with caplog.at_level(logging.INFO):
        await span_of(model_of("ok"), ObservabilityLevel.FULL)

    (line,) = [record for record in caplog.records if record.message == "model.called"]
    assert (line.operation, line.status, line.input_tokens, line.output_tokens) == ("chat", "ok", 7, 10)
    assert QUESTION not in str(line.__dict__)
    assert ANSWER not in str(line.__dict__)
