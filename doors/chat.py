"""Chat completions: a run's answer, whole or as a stream of chunks."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from core.api.sse import data_frame
from core.api.watch import Numbered
from core.ids import unix_seconds_of
from doors.answers import arguments_text, chat_usage, end_problem, finish_reason, ours, plain_id
from doors.citing import annotations, nested
from doors.errors import error_of
from observability.runs.events import EventName

DONE = data_frame("[DONE]")


def completion(model: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": answer["content"], "refusal": None}
    message |= _attachments(answer)
    if "tool_calls" in message and not answer["content"]:
        message["content"] = None
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(answer)}
    return {
        "id": f"chatcmpl-{plain_id(answer['id'])}",
        "object": "chat.completion",
        "created": unix_seconds_of(answer["id"]),
        "model": model,
        "choices": [choice],
        "usage": chat_usage(answer),
        "magnet": ours(answer),
    }


def _attachments(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a message has beside its text, if it has it."""
    found: dict[str, Any] = {}
    noted = annotations(answer["content"], answer["citations"])
    if noted:
        found["annotations"] = [nested(one) for one in noted]
    if answer["tool_calls"]:
        found["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": arguments_text(call)},
            }
            for call in answer["tool_calls"]
        ]
    return found


class ChatChunks:
    """The frames of one streamed answer. Made once a stream: what all chunks share is written once."""

    def __init__(self, model: str, run_id: uuid.UUID, *, include_usage: bool) -> None:
        self._head = {
            "id": f"chatcmpl-{plain_id(run_id)}",
            "object": "chat.completion.chunk",
            "created": unix_seconds_of(run_id),
            "model": model,
        }
        self._include_usage = include_usage
        self._tail = {"usage": None} if include_usage else {}
        self._before, _, self._after = self._chunk({"content": "\0"}).partition(b'"\\u0000"')

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data_frame({**self._head, "choices": [choice], **self._tail})

    def text(self, text: str) -> bytes:
        """A piece of the answer: the frame of all, with this text in it."""
        return b"%s%s%s" % (self._before, json.dumps(text).encode(), self._after)

    def frames(self, event: Numbered) -> Iterator[bytes]:
        """How one event of the run is told."""
        if event.name == EventName.MESSAGE_DELTA:
            yield self.text(event.data["text"])
        elif event.name == EventName.RUN_STARTED:
            yield self._chunk({"role": "assistant", "content": "", "refusal": None})
        elif event.name in (EventName.RUN_COMPLETED, EventName.RUN_CANCELLED):
            yield from self._end(event.data["answer"])
        elif event.name == EventName.RUN_FAILED:
            yield data_frame(error_of(event.data["problem"]))

    def _end(self, answer: Mapping[str, Any]) -> Iterator[bytes]:
        problem = end_problem(answer)
        if problem is not None:
            yield data_frame(error_of(problem))
            return
        attached = _attachments(answer)
        for index, call in enumerate(attached.pop("tool_calls", ())):
            yield self._chunk({"tool_calls": [{"index": index, **call}]})
        yield self._chunk(attached, finish_reason(answer))
        if self._include_usage:
            yield data_frame({**self._head, "choices": [], "usage": chat_usage(answer), "magnet": ours(answer)})
        yield DONE
