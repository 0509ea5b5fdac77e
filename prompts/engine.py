"""From a rendered prompt to a model's answer, as typed events. No HTTP, no Celery, no writes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import jsonschema

from core.exceptions import UpstreamError
from llm import client
from llm.models import Model
from observability.runs.events import Event, EventName
from plugins.contracts import ChatMessage, ChatRequest, FinishReason, MessageRole, OutputFormat, TokenUsage

REPAIR = "That does not fit: {problem}\nAnswer again, with the corrected JSON alone."
MAX_PROBLEM_CHARS = 300


class InvalidOutput(UpstreamError):
    """The model's answer is no JSON, or does not fit the schema, twice."""

    code = "invalid_output"
    title = "The model's answer does not fit"


@dataclass(frozen=True)
class PromptPlan:
    """Everything that an answer depends on, pinned when the run starts."""

    model: Model
    request: ChatRequest


@dataclass
class PromptState:
    """What has come together so far; the service stores it, also when the run ends early.

    output: the parsed answer of a JSON format. repaired: it fitted at the second try only.
    """

    content: str = ""
    output: Any = None
    repaired: bool = False
    usage: TokenUsage = field(default_factory=TokenUsage)
    finish_reason: FinishReason | None = None
    model: str = ""


async def complete(plan: PromptPlan, state: PromptState) -> AsyncGenerator[Event]:
    """Stream the answer; one in JSON is told when it fits. Raises InvalidOutput, and what the model raises."""
    if plan.request.output is None:
        async with aclosing(_stream(plan, plan.request, state)) as texts:
            async for text in texts:
                yield Event(EventName.MESSAGE_DELTA, {"text": text})
        return
    await _collect(plan, plan.request, state)
    problem = await asyncio.to_thread(_problem, state, plan.request.output)
    if problem:
        state.repaired = True
        await _collect(plan, _asked_again(plan.request, state.content, problem), state)
        problem = await asyncio.to_thread(_problem, state, plan.request.output)
    if problem:
        raise InvalidOutput(f"The model's answer does not fit: {problem}", hint="Simplify the schema or the prompt.")
    yield Event(EventName.MESSAGE_DELTA, {"text": state.content})


async def _collect(plan: PromptPlan, request: ChatRequest, state: PromptState) -> None:
    state.content = ""
    async with aclosing(_stream(plan, request, state)) as texts:
        async for _text in texts:
            pass


async def _stream(plan: PromptPlan, request: ChatRequest, state: PromptState) -> AsyncGenerator[str]:
    """The texts of one answer; the state takes content, finish reason, usage and model."""
    state.finish_reason = FinishReason.PROVIDER_CUT
    async with aclosing(client.stream_chat(plan.model, request)) as deltas:
        async for delta in deltas:
            state.finish_reason = delta.finish_reason or state.finish_reason
            state.model = delta.model or state.model
            state.usage = state.usage if delta.usage is None else _sum(state.usage, delta.usage)
            if delta.text:
                state.content += delta.text
                yield delta.text


def _sum(one: TokenUsage, other: TokenUsage) -> TokenUsage:
    return TokenUsage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cached_input_tokens=one.cached_input_tokens + other.cached_input_tokens,
        reasoning_tokens=one.reasoning_tokens + other.reasoning_tokens,
        estimated=one.estimated or other.estimated,
    )


def _problem(state: PromptState, wanted: OutputFormat) -> str:
    """Why the answer does not fit; empty when it does. One that was cut off is nobody's mistake to repair."""
    state.output = None
    if state.finish_reason is not FinishReason.STOP:
        return ""
    try:
        output = json.loads(_unfenced(state.content), parse_constant=_no_number)
        if wanted.schema is None:
            jsonschema.validate(output, {"type": "object"})
        else:
            jsonschema.Draft202012Validator(wanted.schema).validate(output)
    except (json.JSONDecodeError, _NoNumber) as error:
        return f"it is no JSON ({error})."[:MAX_PROBLEM_CHARS]
    except jsonschema.ValidationError as error:
        return f"at {error.json_path}: {error.message}"[:MAX_PROBLEM_CHARS]
    except RecursionError:
        return "it is nested too deeply."
    state.output = output
    return ""


class _NoNumber(ValueError):
    """`NaN` and `Infinity`, which Python reads and JSON does not know."""


def _no_number(name: str) -> Any:
    raise _NoNumber(f"{name} is no number")


def _unfenced(text: str) -> str:
    """Without the code fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text.removeprefix("```").removeprefix("json").removesuffix("```").strip()
    return text


def _asked_again(request: ChatRequest, answer: str, problem: str) -> ChatRequest:
    again = (
        ChatMessage(MessageRole.ASSISTANT, answer),
        ChatMessage(MessageRole.USER, REPAIR.format(problem=problem)),
    )
    return replace(request, messages=(*request.messages, *again))
