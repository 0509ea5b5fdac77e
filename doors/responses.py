"""Responses: a run's answer, whole or as a stream of typed events."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from core.api.problems import problem_of
from core.api.sse import typed_frame
from core.api.watch import Numbered
from core.exceptions import MagnetError
from core.ids import unix_seconds_of
from doors.answers import arguments_text, end_problem, ours, plain_id, response_usage
from doors.asked import Asked
from doors.citing import annotations
from doors.errors import error_of
from observability.runs.events import EventName

REASONS = {"length": "max_output_tokens"}


def response(asked: Asked, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The whole answer of a run that did not fail; one that broke off is incomplete, with its text."""
    whole = answer["status"] == "completed"
    reason = str(answer.get("finish_reason") or "")
    why = None if whole else {"reason": REASONS.get(reason, reason)}
    return {
        **_frame_of(asked, answer["id"], "completed" if whole else _status(answer)),
        "incomplete_details": why if not whole and _status(answer) == "incomplete" else None,
        "output": _output(answer),
        "usage": response_usage(answer),
        "magnet": ours(answer),
    }


def _status(answer: Mapping[str, Any]) -> str:
    return "cancelled" if answer["status"] == "cancelled" else "incomplete"


def _frame_of(asked: Asked, run_id: uuid.UUID | str, status: str) -> dict[str, Any]:
    """What a response says from its beginning on."""
    return {
        "id": f"resp_{plain_id(run_id)}",
        "object": "response",
        "created_at": unix_seconds_of(run_id),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": asked.settings.max_tokens,
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": asked.settings.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": asked.settings.top_p,
        "truncation": "disabled",
        "metadata": {name: str(value) for name, value in asked.metadata.items()},
        "usage": None,
    }


def _output(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = "completed" if answer["status"] == "completed" else "incomplete"
    items = []
    if answer["content"] or not answer["tool_calls"]:
        noted = annotations(answer["content"], answer["citations"])
        items.append(_message(answer["id"], status, [_part(answer["content"], noted)]))
    return items + [_call(call, status) for call in answer["tool_calls"]]


def _message(run_id: uuid.UUID | str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    head = {"id": f"msg_{plain_id(run_id)}", "type": "message", "status": status}
    return {**head, "role": "assistant", "content": content}


def _part(text: str, noted: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": noted, "logprobs": []}


def _call(call: Mapping[str, Any], status: str) -> dict[str, Any]:
    named = {"id": f"fc_{call['id']}", "type": "function_call", "status": status, "call_id": call["id"]}
    return {**named, "name": call["name"], "arguments": arguments_text(call)}


class ResponseEvents:
    """The frames of one streamed answer, with exactly one end: completed, incomplete or failed."""

    def __init__(self, asked: Asked, run_id: uuid.UUID) -> None:
        self._asked = asked
        self._run_id = run_id
        self._seq = 0
        self._open = False
        self._place = {"item_id": f"msg_{plain_id(run_id)}", "output_index": 0, "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> bytes:
        frame = typed_frame(kind, {"type": kind, "sequence_number": self._seq, **fields})
        self._seq += 1
        return frame

    def frames(self, event: Numbered) -> Iterator[bytes]:
        """How one event of the run is told."""
        if event.name == EventName.MESSAGE_DELTA:
            yield from self._opened()
            yield self._event("response.output_text.delta", **self._place, delta=event.data["text"], logprobs=[])
        elif event.name == EventName.RUN_STARTED:
            begun = _frame_of(self._asked, self._run_id, "in_progress")
            yield self._event("response.created", response=begun)
            yield self._event("response.in_progress", response=begun)
        elif event.name in (EventName.RUN_COMPLETED, EventName.RUN_CANCELLED):
            yield from self._end(event.data["answer"])
        elif event.name == EventName.RUN_FAILED:
            yield self._failed(event.data["problem"])

    def _opened(self) -> Iterator[bytes]:
        """The message and its only part, before the first text."""
        if self._open:
            return
        self._open = True
        message = _message(self._run_id, "in_progress", [])
        yield self._event("response.output_item.added", output_index=0, item=message)
        yield self._event("response.content_part.added", **self._place, part=_part("", []))

    def _end(self, answer: Mapping[str, Any]) -> Iterator[bytes]:
        if answer["status"] == "cancelled":
            problem = end_problem(answer) or problem_of(MagnetError("The run has no end."))
            yield self._failed(problem)
            return
        told = response(self._asked, answer)
        if self._open or told["output"][0]["type"] == "message":
            yield from self._opened()
            yield from self._closed(told["output"][0])
        for index, item in enumerate(told["output"]):
            if item["type"] == "function_call":
                yield from self._called(index, item)
        yield self._event(f"response.{told['status']}", response=told)

    def _closed(self, message: Mapping[str, Any]) -> Iterator[bytes]:
        part = message["content"][0]
        for number, noted in enumerate(part["annotations"]):
            fields = {**self._place, "annotation_index": number, "annotation": noted}
            yield self._event("response.output_text.annotation.added", **fields)
        yield self._event("response.output_text.done", **self._place, text=part["text"], logprobs=[])
        yield self._event("response.content_part.done", **self._place, part=part)
        yield self._event("response.output_item.done", output_index=0, item=message)

    def _called(self, index: int, item: Mapping[str, Any]) -> Iterator[bytes]:
        """A function call, told when it is whole and checked."""
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=item["arguments"])
        done = {"arguments": item["arguments"], "name": item["name"]}
        yield self._event("response.function_call_arguments.done", **place, **done)
        yield self._event("response.output_item.done", output_index=index, item=item)

    def _failed(self, problem: Mapping[str, Any]) -> bytes:
        error = error_of(problem)["error"]
        known = "rate_limit_exceeded" if problem["status"] == 429 else "server_error"
        why = {"code": known, "message": error["message"], "magnet_code": error["code"]}
        failed = {**_frame_of(self._asked, self._run_id, "failed"), "error": why}
        return self._event("response.failed", response=failed)
