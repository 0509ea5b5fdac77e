"""Running a raw model as a run of its own: for keys that may, through the doors that offer models by name."""

import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from core.access import Permission, Principal
from core.exceptions import Conflict
from llm import client
from llm.choices import ModelKind
from llm.models import Model
from llm.spending import usage_object
from observability.choices import RunKind
from observability.models import Run
from observability.runs.events import Event, EventName
from observability.runs.work import Closing, Started, Work
from observability.services import run_create
from observability.tracing import start_trace
from plugins.contracts import ChatRequest, FinishReason, TokenUsage, ToolCall

WHOLE = frozenset({FinishReason.STOP, FinishReason.TOOL_CALLS})


@dataclass(frozen=True)
class ModelVersion:
    """What a run of a raw model pins: the row, at the version that it had."""

    number: int
    pk: uuid.UUID


@dataclass
class ModelState:
    """What has come together so far; the run's closing stores it, also when it ends early."""

    texts: list[str] = field(default_factory=list)
    usage: TokenUsage | None = None
    finish_reason: FinishReason | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""

    @property
    def content(self) -> str:
        return "".join(self.texts)


@transaction.atomic
def model_start(*, principal: Principal, model: Model, request: ChatRequest) -> Started:
    """Prepare a run of this chat model with the caller's own messages and settings.

    Raises Conflict for a model that is switched off, of another kind, or cannot chat.
    """
    principal.require(Permission.MODELS)
    client.require_usable(model, ModelKind.CHAT)
    if model.is_extractive:
        raise Conflict(
            f"The model '{model.slug}' only quotes passages and cannot chat.",
            hint="Choose one of a connected provider.",
        )
    pinned = ModelVersion(model.version, model.pk)
    run = run_create(principal=principal, kind=RunKind.MODEL, target=model, variant=pinned, given=_given(request))
    state = ModelState()
    work = Work(
        events=_events(model, request, state),
        content=lambda: state.content,
        close=_closing(state),
        recorder=start_trace(f"model {model.slug}", RunKind.MODEL, principal, target=model.slug),
    )
    return Started(run, work)


def _given(request: ChatRequest) -> dict[str, Any]:
    """What a person who looks at the run wants to know of the request; pictures are counted, not kept."""
    settings = ("temperature", "top_p", "max_tokens", "seed")
    return {
        "messages": [
            {
                "role": turn.role.value,
                "content": turn.content,
                **({"images": len(turn.images)} if turn.images else {}),
                **({"tool_calls": [_call(call) for call in turn.tool_calls]} if turn.tool_calls else {}),
            }
            for turn in request.messages
        ],
        "settings": {name: getattr(request, name) for name in settings if getattr(request, name) is not None},
        "tools": [tool.name for tool in request.tools],
    }


def _call(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


async def _events(model: Model, request: ChatRequest, state: ModelState) -> AsyncGenerator[Event]:
    """The answer as it comes. Raises what the model raises."""
    state.finish_reason = FinishReason.PROVIDER_CUT
    async with aclosing(client.stream_chat(model, request)) as deltas:
        async for delta in deltas:
            if delta.text:
                state.texts.append(delta.text)
                yield Event(EventName.MESSAGE_DELTA, {"text": delta.text})
            if delta.finish_reason is not None:
                state.finish_reason, state.tool_calls = delta.finish_reason, delta.tool_calls
                state.usage, state.model = delta.usage, delta.model


def _closing(state: ModelState) -> Callable[[Run], Closing]:
    def close(_run: Run) -> Closing:
        content = state.content
        return Closing(
            answer={
                "content": content,
                "citations": [],
                "degraded": [],
                "tool_calls": [_requested(call) for call in state.tool_calls],
                "usage": usage_object(state.usage),
                "model": state.model,
            },
            content=content,
            complete=state.finish_reason in WHOLE,
            finish_reason=state.finish_reason.value if state.finish_reason else "",
            model=state.model,
        )

    return close


def _requested(call: ToolCall) -> dict[str, Any]:
    """A call that the caller's own tool has to answer: nothing runs here."""
    arguments = json.loads(call.arguments)
    return {
        "id": call.id,
        "name": call.name,
        "arguments": arguments,
        "status": "requested",
        "requires_confirmation": False,
    }
