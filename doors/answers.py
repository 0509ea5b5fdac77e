"""What both ways of chatting say about the end of a run."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from core.api.problems import problem_of
from core.exceptions import Conflict, ServiceUnavailable, UpstreamError

CUT_SHORT = {"length": "length", "content_filter": "content_filter"}


def end_problem(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Why a run that did not fail has no whole answer, where this protocol has no other word for it."""
    status, reason = answer["status"], str(answer.get("finish_reason") or "")
    if status == "cancelled":
        if reason == "shutdown":
            return problem_of(ServiceUnavailable("The platform is being restarted.", hint="Send the request again."))
        return problem_of(Conflict("The run was cancelled."))
    if status == "incomplete" and reason not in CUT_SHORT:
        detail = "The answer broke off before its end." if reason == "provider_cut" else "The run ended before its end."
        return {**problem_of(UpstreamError(detail, hint="What there is stays in the run.")), "code": reason or "cut"}
    return None


def finish_reason(answer: Mapping[str, Any]) -> str:
    """In OpenAI's words. An answer that broke off is one that was cut short: `length` is what their clients heed."""
    if answer["tool_calls"]:
        return "tool_calls"
    reason = str(answer.get("finish_reason") or "")
    return CUT_SHORT.get(reason, "stop" if answer["status"] == "completed" else "length")


def chat_usage(answer: Mapping[str, Any]) -> dict[str, Any]:
    spent = answer["usage"]
    return {
        "prompt_tokens": spent["input_tokens"],
        "completion_tokens": spent["output_tokens"],
        "total_tokens": spent["input_tokens"] + spent["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": spent["cached_input_tokens"], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": spent["reasoning_tokens"], "audio_tokens": 0},
    }


def response_usage(answer: Mapping[str, Any]) -> dict[str, Any]:
    spent = answer["usage"]
    return {
        "input_tokens": spent["input_tokens"],
        "input_tokens_details": {"cached_tokens": spent["cached_input_tokens"]},
        "output_tokens": spent["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": spent["reasoning_tokens"]},
        "total_tokens": spent["input_tokens"] + spent["output_tokens"],
    }


def arguments_text(call: Mapping[str, Any]) -> str:
    """A call's arguments as JSON text, which is how this protocol carries them."""
    return json.dumps(call["arguments"], ensure_ascii=False, separators=(",", ":"))


def ours(answer: Mapping[str, Any]) -> dict[str, Any]:
    """What Magnet knows beyond the protocol; official clients keep fields that they do not know."""
    names = ("status", "finish_reason", "resolution", "variant", "trace_id", "degraded")
    return {"run_id": answer["id"], **{name: answer.get(name) for name in names}}


def plain_id(run_id: uuid.UUID | str) -> str:
    return uuid.UUID(str(run_id)).hex
