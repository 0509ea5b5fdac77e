"""Tool calls arrive whole and checked, or not at all. The stream is real, the server misbehaves."""

import json

import pytest

from core.exceptions import MagnetError
from core.ids import uuid7
from llm.client import stream_chat
from llm.exceptions import ToolCallsBroken
from magnet.tests.scripted_tools import ARGUMENTS, BROKEN
from observability.tracing import TraceRecorder, recording
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    FinishReason,
    Image,
    MessageRole,
    NamedTool,
    ReasoningEffort,
    ToolCall,
    ToolMode,
    ToolSpec,
)

DELETE = ToolSpec("delete", "Deletes a folder.", {"type": "object", "properties": {"path": {"type": "string"}}})


def asked(*more: ChatMessage, **settings) -> ChatRequest:
    messages = (ChatMessage(MessageRole.USER, "Tidy up."), *more)
    return ChatRequest(model="", messages=messages, **{"tools": (DELETE,), **settings})


async def answered(model, request: ChatRequest):
    deltas = [delta async for delta in stream_chat(model, request)]
    assert not any(delta.tool_calls for delta in deltas[:-1])
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_a_call_comes_whole_with_the_last_delta(model_of):
    text, last = await answered(model_of("calls-tool"), asked())

    assert text == "I look it up."
    assert last.finish_reason is FinishReason.TOOL_CALLS
    assert last.tool_calls == (ToolCall("call_1", "delete", ARGUMENTS),)
    assert last.tool_calls[0].parsed() == json.loads(ARGUMENTS)
    assert last.usage is not None
    assert not last.usage.estimated


async def test_a_tools_result_goes_back_to_the_model(model_of, scripted):
    model = model_of("calls-tool")
    _, last = await answered(model, asked())
    turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls)
    result = ChatMessage(MessageRole.TOOL, "gone", tool_call_id="call_1")

    text, last = await answered(model, asked(turn, result))

    assert (text, last.finish_reason, last.tool_calls) == ("It said: gone", FinishReason.STOP, ())
    assert scripted.calls[1].body["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "delete", "arguments": ARGUMENTS}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "gone"},
    ]


@pytest.mark.parametrize("identifier", ["calls-two-tools", "calls-numbered-alike"])
async def test_pieces_of_several_calls_are_told_apart(model_of, identifier):
    _, last = await answered(model_of(identifier), asked())

    assert last.finish_reason is FinishReason.TOOL_CALLS
    assert [(call.id, call.parsed()) for call in last.tool_calls] == [("call_1", {"n": 1}), ("call_2", {"n": 2})]


async def test_a_call_without_id_is_given_one(model_of):
    _, last = await answered(model_of("calls-without-ids"), asked())

    assert last.tool_calls[0].id.startswith("call_")


@pytest.mark.parametrize("identifier", BROKEN)
async def test_what_is_not_whole_never_becomes_a_call(model_of, identifier, scripted):
    deltas, recorder = [], TraceRecorder(name="test", kind="test", workspace_id=uuid7())

    async def read() -> None:
        async for delta in stream_chat(model_of(identifier), asked()):
            deltas.append(delta)

    with recording(recorder), pytest.raises(ToolCallsBroken) as caught:
        await read()

    assert not any(delta.tool_calls or delta.finish_reason for delta in deltas)
    assert caught.value.text == "".join(delta.text for delta in deltas)
    assert ARGUMENTS[:10] not in str(caught.value)
    assert len(scripted.calls) == 1
    assert recorder.usage[0].output_tokens == caught.value.usage.output_tokens > 0


async def test_a_call_that_stalls_after_text_is_cut_without_calls(model_of, scripted):
    text, last = await answered(model_of("calls-stall", timeout_seconds=1), asked())

    assert (text, last.finish_reason, last.tool_calls) == ("I tidy up.", FinishReason.PROVIDER_CUT, ())


async def test_settings_and_tools_are_sent_in_the_vendors_words(model_of, scripted):
    request = asked(tool_choice=NamedTool("delete"), stop=("END",), seed=7, reasoning_effort=ReasoningEffort.LOW)

    await answered(model_of("shows-request", reasoning=True), request)

    body = scripted.calls[0].body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "delete", "description": "Deletes a folder.", "parameters": dict(DELETE.parameters)},
        }
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "delete"}}
    assert (body["stop"], body["seed"], body["reasoning_effort"]) == (["END"], 7, "low")


async def test_a_choice_without_tools_is_not_sent(model_of, scripted):
    await answered(model_of("shows-request"), asked(tools=(), tool_choice=ToolMode.NONE))

    assert not {"tools", "tool_choice", "stop", "seed", "reasoning_effort"} & scripted.calls[0].body.keys()


async def test_a_picture_goes_as_a_data_url(model_of, scripted):
    picture = ChatMessage(MessageRole.USER, "What is it?", images=(Image(b"\x89PNG", "image/png"),))

    await answered(model_of("shows-request", vision=True), ChatRequest("", (picture,)))

    assert scripted.calls[0].body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
            ],
        }
    ]


async def test_the_error_is_a_problem_of_the_vendor(model_of):
    with pytest.raises(MagnetError) as caught:
        await answered(model_of("calls-cut"), asked())

    assert (caught.value.status, caught.value.code) == (502, "tool_calls_broken")
