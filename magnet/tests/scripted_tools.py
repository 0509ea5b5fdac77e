"""Models of the scripted provider that call tools, whole and broken off."""

import json
from typing import Any

from magnet.tests.scripted_answers import ANSWER, ending, usage_of, words
from magnet.tests.scripted_answers import chat as _chat
from magnet.tests.scripted_answers import chunk as _chunk

ARGUMENTS = '{"path": "/home/alice/old/backups", "note": "with a café"}'


async def _piece(exchange: Any, index: int | None, **call: Any) -> None:
    function = {name: call.pop(name) for name in ("name", "arguments") if name in call}
    delta = {"tool_calls": [{"index": index, "type": "function", **call, "function": function}]}
    await exchange.event(_chunk(exchange, delta))


async def _call(exchange: Any, index: int | None, number: int, arguments: str = ARGUMENTS) -> None:
    """A call in small pieces, as vendors send it."""
    await _piece(exchange, index, id=f"call_{number}", name="delete", arguments="")
    for start in range(0, len(arguments), 7):
        await _piece(exchange, index, arguments=arguments[start : start + 7])


@_chat("calls-tool")
async def _calls_tool(exchange: Any) -> None:
    """Says something, calls one tool, and answers when a tool's result is the last turn."""
    exchange.begin_stream()
    last = exchange.call.body["messages"][-1]
    if last["role"] == "tool":
        await words(exchange, f"It said: {last['content']}")
        return await ending(exchange, "It said")
    await words(exchange, "I look it up.")
    await _call(exchange, 0, 1)
    return await ending(exchange, "I look it up.", "tool_calls")


@_chat("calls-two-tools")
async def _calls_two_tools(exchange: Any) -> None:
    """Pieces of two calls by turns."""
    exchange.begin_stream()
    await _piece(exchange, 0, id="call_1", name="delete", arguments='{"n"')
    await _piece(exchange, 1, id="call_2", name="delete", arguments='{"n":')
    await _piece(exchange, 0, arguments=": 1}")
    await _piece(exchange, 1, arguments=" 2}")
    await ending(exchange, "", "tool_calls")


@_chat("calls-numbered-alike")
async def _calls_numbered_alike(exchange: Any) -> None:
    """Two whole calls with the same index, as some vendors number them, and the reason of every other answer."""
    exchange.begin_stream()
    await _piece(exchange, 0, id="call_1", name="delete", arguments='{"n": 1}')
    await _piece(exchange, 0, id="call_2", name="delete", arguments='{"n": 2}')
    await ending(exchange, "", "stop")


@_chat("calls-without-ids")
async def _calls_without_ids(exchange: Any) -> None:
    exchange.begin_stream()
    await _piece(exchange, 0, name="delete", arguments='{"n": 1}')
    await ending(exchange, "", "tool_calls")


def _broken(name: str, arguments: str, finish: str | None) -> None:
    @_chat(name)
    async def _script(exchange: Any) -> None:
        exchange.begin_stream(chunked=finish is not None)
        await words(exchange, "I tidy up.")
        await _call(exchange, 0, 1, arguments)
        if finish is None:
            await exchange.hang_up()
        else:
            await ending(exchange, "I tidy up.", finish)


BROKEN_CALLS = {
    "calls-cut": (ARGUMENTS[:20], None),
    "calls-cut-when-whole": (ARGUMENTS, None),
    "calls-at-full-length": (ARGUMENTS, "length"),
    "calls-cut-at-length": (ARGUMENTS[:20], "length"),
    "calls-filtered": (ARGUMENTS, "content_filter"),
    "calls-bad-json": (ARGUMENTS[:20], "tool_calls"),
    "calls-nothing": ("", "tool_calls"),
    "calls-list": ("[1]", "tool_calls"),
    "calls-text": ('"delete"', "tool_calls"),
    "calls-nan": ('{"n": NaN}', "tool_calls"),
    "calls-twice-in-one": ('{"n": 1}{"n": 1}', "tool_calls"),
}
for _name, (_arguments, _finish) in BROKEN_CALLS.items():
    _broken(_name, _arguments, _finish)


@_chat("announces-calls")
async def _announces_calls(exchange: Any) -> None:
    exchange.begin_stream()
    await words(exchange, "I tidy up.")
    await ending(exchange, "I tidy up.", "tool_calls")


@_chat("shows-request")
async def _shows_request(exchange: Any) -> None:
    """Answers with what it was asked, as JSON."""
    exchange.begin_stream()
    text = json.dumps(exchange.call.body)
    await words(exchange, text)
    await ending(exchange, text)


@_chat("calls-stall")
async def _calls_stall(exchange: Any) -> None:
    exchange.begin_stream()
    await words(exchange, "I tidy up.")
    await _call(exchange, 0, 1, ARGUMENTS[:20])
    await exchange.wait(60)


BROKEN = (*BROKEN_CALLS, "announces-calls")


# --- models that do not stream, and one that thinks aloud


async def _whole_answer(exchange: Any, message: dict[str, Any], finish: str) -> None:
    body = exchange.call.body
    assert body.get("stream") is False, "it was asked to stream"
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = usage_of(exchange, str(message["content"] or ""))
    about = {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": f"{body['model']}-2026"}
    await exchange.json(200, {**about, "choices": [choice], "usage": usage})


@_chat("whole")
async def _whole(exchange: Any) -> None:
    await _whole_answer(exchange, {"content": ANSWER}, "stop")


@_chat("whole-call")
async def _whole_call(exchange: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "delete", "arguments": '{"n": 1}'}}
    await _whole_answer(exchange, {"content": None, "tool_calls": [call]}, "tool_calls")


@_chat("thinks-aloud")
async def _thinks_aloud(exchange: Any) -> None:
    """In both fields that servers use."""
    exchange.begin_stream()
    await exchange.event(_chunk(exchange, {"reasoning_content": "Hm. "}))
    await exchange.event(_chunk(exchange, {"reasoning": "Well."}))
    await words(exchange, ANSWER)
    await ending(exchange, ANSWER)
