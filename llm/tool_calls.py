"""The guard in front of every tool call. A call that was cut looks like a shorter one (`delete /home/alice/old` as
`delete /`), so what is not whole beyond doubt never leaves `llm.client`."""

from dataclasses import replace

from plugins.contracts import ChatDelta, FinishReason, ToolCall


class CallsBroken(Exception):
    """The calls of this answer must not run. The message is a sentence that the model may read."""


def checked(last: ChatDelta) -> ChatDelta:
    """The last delta with calls that may run, and the reason TOOL_CALLS; one without calls as it is.

    Raises CallsBroken when the answer did not end as one with calls does, or a call is no whole one.
    """
    if not last.tool_calls:
        if last.finish_reason is FinishReason.TOOL_CALLS:
            raise CallsBroken("A tool call was announced, and none came.")
        return last
    # Some vendors end an answer with calls as they end every other one.
    if last.finish_reason not in (FinishReason.TOOL_CALLS, FinishReason.STOP):
        raise CallsBroken(_ENDS[last.finish_reason or FinishReason.PROVIDER_CUT])
    for call in last.tool_calls:
        _check(call)
    if len({call.id for call in last.tool_calls}) < len(last.tool_calls):
        raise CallsBroken("Two calls have the same id.")
    return replace(last, finish_reason=FinishReason.TOOL_CALLS)


_ENDS = {
    FinishReason.LENGTH: "The answer was cut at its longest length, in the middle of a tool call.",
    FinishReason.PROVIDER_CUT: "The answer broke off in the middle of a tool call.",
    FinishReason.CONTENT_FILTER: "The answer was filtered in the middle of a tool call.",
}


def _check(call: ToolCall) -> None:
    if not call.id or not call.name:
        raise CallsBroken("A call has no id or no name.")
    try:
        call.parsed()
    except (ValueError, RecursionError):
        raise CallsBroken(f"The arguments of the call of '{call.name[:64]}' are no JSON object.") from None
