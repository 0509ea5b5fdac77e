"""A request as this model can take it: what it cannot do is refused by name, or asked for in another way."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace

from core.exceptions import Conflict
from llm.models import Model
from plugins.contracts import ChatDelta, ChatMessage, ChatRequest, MessageRole, OutputFormat

JSON_ALONE = "Answer with one JSON object alone: no other text, no code fence."
JSON_LIKE = "Answer with one JSON value alone that fits this JSON Schema: no other text, no code fence.\n{schema}"


def require_able(model: Model, request: ChatRequest) -> None:
    """Raise Conflict for tools or pictures that the model does not take."""
    if request.tools and not model.tool_calling:
        raise _cannot(model, "call tools")
    if any(message.images for message in request.messages) and not model.vision:
        raise _cannot(model, "see pictures")


def is_able(model: Model, request: ChatRequest) -> bool:
    """Whether the model takes what cannot be asked for in another way."""
    try:
        require_able(model, request)
    except Conflict:
        return False
    return True


def adapted(model: Model, request: ChatRequest) -> ChatRequest:
    """The request of a model that is able to answer it.

    A model without JSON schema or JSON mode is told in words what is wanted; whoever asks checks the answer in any
    case. An effort is asked only of a model that reasons.
    """
    effort = request.reasoning_effort if model.reasoning else None
    request = replace(request, model=model.identifier, reasoning_effort=effort, stream=model.streaming)
    return request if request.output is None else _as_json(model, request, request.output)


def _cannot(model: Model, what: str) -> Conflict:
    hint = "Choose another model, or correct its capabilities."
    return Conflict(f"The model '{model.slug}' cannot {what}.", hint=hint)


def _as_json(model: Model, request: ChatRequest, output: OutputFormat) -> ChatRequest:
    if output.schema is not None and model.json_schema:
        return request
    told = JSON_ALONE if output.schema is None else JSON_LIKE.format(schema=json.dumps(dict(output.schema)))
    # Vendors refuse their JSON mode where no message speaks of JSON.
    known = output.schema is None and any("json" in one.content.lower() for one in request.messages)
    messages = request.messages if known else _told(request.messages, told)
    # JSON mode gives objects alone; a schema may want another value.
    fits = model.json_mode and (output.schema is None or output.schema.get("type") == "object")
    return replace(request, messages=messages, output=OutputFormat() if fits else None)


def _told(messages: tuple[ChatMessage, ...], told: str) -> tuple[ChatMessage, ...]:
    """Behind the first system message, as several of them are more than some vendors take."""
    if messages and messages[0].role is MessageRole.SYSTEM:
        first = replace(messages[0], content=f"{messages[0].content}\n\n{told}")
        return (first, *messages[1:])
    return (ChatMessage(MessageRole.SYSTEM, told), *messages)


async def in_one(deltas: AsyncIterator[ChatDelta]) -> AsyncGenerator[ChatDelta]:
    """The whole text in one delta, then the last one: for a model that does not stream."""
    text = reasoning = ""
    async for delta in deltas:
        if delta.finish_reason is None:
            text += delta.text
            reasoning += delta.reasoning
            continue
        if text or reasoning:
            yield ChatDelta(text=text, reasoning=reasoning)
        yield delta
