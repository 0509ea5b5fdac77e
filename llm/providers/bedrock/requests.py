"""A chat request in the words of Amazon Bedrock's Converse API."""

import base64
import json
from typing import Any

from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    MessageRole,
    NamedTool,
    ReasoningEffort,
    ToolMode,
)

_BUDGETS = {
    ReasoningEffort.MINIMAL: 1024,
    ReasoningEffort.LOW: 2048,
    ReasoningEffort.MEDIUM: 8192,
    ReasoningEffort.HIGH: 16_384,
}


def converse_body(request: ChatRequest) -> dict[str, Any]:
    """What `converse-stream` takes. It has neither seed nor JSON mode."""
    system = [{"text": one.content} for one in request.messages if one.role is MessageRole.SYSTEM]
    inference = {
        "maxTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    body: dict[str, Any] = {
        "messages": _turns(request),
        "inferenceConfig": {name: value for name, value in inference.items() if value is not None},
        **({"system": system} if system else {}),
        **_tools(request),
    }
    if request.reasoning_effort is not None and "claude" in request.model:
        budget = _BUDGETS[request.reasoning_effort]
        body["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": budget}}
        inference = body["inferenceConfig"]
        inference["maxTokens"] = max(inference.get("maxTokens", 4096), budget + 1024)
        for name in ("temperature", "topP"):
            inference.pop(name, None)
    return body


def _turns(request: ChatRequest) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role is MessageRole.SYSTEM:
            continue
        role = "assistant" if message.role is MessageRole.ASSISTANT else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(_blocks(message))
        else:
            turns.append({"role": role, "content": _blocks(message)})
    return turns


def _blocks(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role is MessageRole.TOOL:
        result = {"toolUseId": message.tool_call_id, "content": [{"text": message.content or "-"}]}
        return [{"toolResult": result}]
    thoughts = json.loads(message.continuation) if message.continuation else []
    # An empty text is refused.
    text = [{"text": message.content}] if message.content.strip() else []
    pictures = [
        {
            "image": {
                "format": image.media_type.removeprefix("image/"),
                "source": {"bytes": base64.b64encode(image.data).decode()},
            }
        }
        for image in message.images
    ]
    calls = [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.parsed()}} for call in message.tool_calls
    ]
    return [*thoughts, *pictures, *text, *calls] or [{"text": "-"}]


def _tools(request: ChatRequest) -> dict[str, Any]:
    # It knows no "call none": then the tools are left out.
    if not request.tools or request.tool_choice is ToolMode.NONE:
        return {}
    tools = [
        {
            "toolSpec": {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": {"json": dict(tool.parameters)},
            }
        }
        for tool in request.tools
    ]
    choice: dict[str, Any] = {"auto": {}}
    if isinstance(request.tool_choice, NamedTool):
        choice = {"tool": {"name": request.tool_choice.name}}
    elif request.tool_choice is ToolMode.REQUIRED:
        choice = {"any": {}}
    return {"toolConfig": {"tools": tools, "toolChoice": choice}}
