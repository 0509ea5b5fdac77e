"""A chat request in the words of Anthropic's Messages API."""

import base64
import json
import re
from typing import Any

from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    MessageRole,
    NamedTool,
    ReasoningEffort,
    ToolCall,
    ToolMode,
)

MAX_TOKENS = 4096  # the API wants a number
# Until version 4.5 thinking has a budget in tokens; the models after it are told an effort.
_WITH_BUDGET = re.compile(r"claude-(3|(opus|sonnet|haiku)-4-(\d{8}|[015](-|$)|0))")
_BUDGETS = {
    ReasoningEffort.MINIMAL: 1024,
    ReasoningEffort.LOW: 2048,
    ReasoningEffort.MEDIUM: 8192,
    ReasoningEffort.HIGH: 16_384,
}
_EFFORTS = {ReasoningEffort.MINIMAL: "low"}


def message_body(request: ChatRequest) -> dict[str, Any]:
    """What `POST /v1/messages` takes. There is no seed, and no JSON mode without a schema."""
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens or MAX_TOKENS,
        "messages": _turns(request),
        "stream": True,
    }
    system = "\n\n".join(one.content for one in request.messages if one.role is MessageRole.SYSTEM)
    optional = {
        "system": system or None,
        # One of the two: newer models refuse both together.
        "temperature": request.temperature,
        "top_p": request.top_p if request.temperature is None else None,
        "stop_sequences": list(request.stop) or None,
    }
    body.update({name: value for name, value in optional.items() if value is not None})
    body.update(_tools(request))
    _think(request, body)
    if request.output is not None and request.output.schema is not None:
        answer = {"type": "json_schema", "schema": dict(request.output.schema)}
        body["output_config"] = {**body.get("output_config", {}), "format": answer}
    return body


def _think(request: ChatRequest, body: dict[str, Any]) -> None:
    """Thinking leaves no choice of sampling, and no tool can be forced with it."""
    effort = request.reasoning_effort
    if effort is None:
        return
    if _WITH_BUDGET.match(request.model.rpartition("anthropic.")[2]):
        budget = _BUDGETS[effort]
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        body["max_tokens"] = max(body["max_tokens"], budget + 1024)
    else:
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = {"effort": _EFFORTS.get(effort, effort.value)}
    for name in ("temperature", "top_p"):
        body.pop(name, None)
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        body["tool_choice"] = {"type": "auto"}


def _turns(request: ChatRequest) -> list[dict[str, Any]]:
    """Messages as turns of user and assistant; results of tools belong to the user's, all of a step in one."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role is MessageRole.SYSTEM:
            continue
        role = "assistant" if message.role is MessageRole.ASSISTANT else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role is MessageRole.TOOL:
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    thoughts = json.loads(message.continuation) if message.continuation else []
    pictures = [
        {
            "type": "image",
            "source": {
                "type": "base64",
                "media_type": image.media_type,
                "data": base64.b64encode(image.data).decode(),
            },
        }
        for image in message.images
    ]
    # An empty text is refused.
    text = [{"type": "text", "text": message.content}] if message.content.strip() else []
    found = [*thoughts, *pictures, *text, *(_tool_use(call) for call in message.tool_calls)]
    return found or [{"type": "text", "text": "-"}]


def _tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.parsed()}


def _tools(request: ChatRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    tools = [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
        for tool in request.tools
    ]
    choice = request.tool_choice
    if choice is None:
        return {"tools": tools}
    if isinstance(choice, NamedTool):
        return {"tools": tools, "tool_choice": {"type": "tool", "name": choice.name}}
    words = {ToolMode.AUTO: "auto", ToolMode.NONE: "none", ToolMode.REQUIRED: "any"}
    return {"tools": tools, "tool_choice": {"type": words[choice]}}
