"""A chat request in the words of Google's generateContent."""

import base64
import json
import re
from typing import Any

from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    Image,
    MessageRole,
    NamedTool,
    ReasoningEffort,
    ToolCall,
    ToolMode,
)

# Thinking has a budget in tokens until version 2.5, and a level from 3 on.
_WITH_BUDGET = re.compile(r"gemini-[12]")
_WITH_SIGNATURES = re.compile(r"gemini-[3-9]")
_BUDGETS = {
    ReasoningEffort.MINIMAL: 512,
    ReasoningEffort.LOW: 1024,
    ReasoningEffort.MEDIUM: 8192,
    ReasoningEffort.HIGH: 24_576,
}
_LEVELS = {ReasoningEffort.MINIMAL: "low"}
# Google's own word for calls of a history that its models have not signed.
_UNSIGNED = "skip_thought_signature_validator"


def content_body(request: ChatRequest) -> dict[str, Any]:
    """What `:streamGenerateContent` takes."""
    system = "\n\n".join(one.content for one in request.messages if one.role is MessageRole.SYSTEM)
    return {
        "contents": _contents(request),
        "generationConfig": _generation(request),
        **({"systemInstruction": {"parts": [{"text": system}]}} if system else {}),
        **_tools(request),
    }


def _generation(request: ChatRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "temperature": request.temperature,
        "topP": request.top_p,
        "maxOutputTokens": request.max_tokens,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
    }
    if request.output is not None:
        settings["responseMimeType"] = "application/json"
        settings["responseJsonSchema"] = None if request.output.schema is None else dict(request.output.schema)
    effort = request.reasoning_effort
    if effort is not None:
        budget = {"thinkingBudget": _BUDGETS[effort]}
        level = {"thinkingLevel": _LEVELS.get(effort, effort.value)}
        settings["thinkingConfig"] = budget if _WITH_BUDGET.match(request.model) else level
    return {name: value for name, value in settings.items() if value is not None}


def _contents(request: ChatRequest) -> list[dict[str, Any]]:
    """Messages as contents of user and model; results of tools are the user's, all of a step in one."""
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    contents: list[dict[str, Any]] = []
    for message in request.messages:
        if message.role is MessageRole.SYSTEM:
            continue
        role = "model" if message.role is MessageRole.ASSISTANT else "user"
        parts = _parts(message, names, request.model)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"].extend(parts)
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: ChatMessage, names: dict[str, str], model: str) -> list[dict[str, Any]]:
    if message.role is MessageRole.TOOL:
        name = names.get(message.tool_call_id, message.tool_call_id)
        return [{"functionResponse": {"name": name, "response": _result(message.content)}}]
    text = [{"text": message.content}] if message.content else []
    signatures = json.loads(message.continuation) if message.continuation else {}
    if message.tool_calls and not signatures and _WITH_SIGNATURES.match(model):
        signatures = {message.tool_calls[0].id: _UNSIGNED}
    calls = [_call(call, signatures.get(call.id, "")) for call in message.tool_calls]
    return [*text, *map(_picture, message.images), *calls] or [{"text": ""}]


def _result(content: str) -> dict[str, Any]:
    """What a tool returned has to be an object."""
    try:
        found = json.loads(content)
    except ValueError:
        return {"output": content}
    return found if isinstance(found, dict) else {"output": found}


def _call(call: ToolCall, signature: str) -> dict[str, Any]:
    signed = {"thoughtSignature": signature} if signature else {}
    return {"functionCall": {"name": call.name, "args": call.parsed()}, **signed}


def _picture(image: Image) -> dict[str, Any]:
    return {"inlineData": {"mimeType": image.media_type, "data": base64.b64encode(image.data).decode()}}


def _tools(request: ChatRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    declared = [
        {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.parameters)}
        for tool in request.tools
    ]
    choice = request.tool_choice
    calling: dict[str, Any] | None = None
    if isinstance(choice, NamedTool):
        calling = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    elif choice is not None:
        calling = {"mode": {ToolMode.AUTO: "AUTO", ToolMode.NONE: "NONE", ToolMode.REQUIRED: "ANY"}[choice]}
    return {
        "tools": [{"functionDeclarations": declared}],
        **({"toolConfig": {"functionCallingConfig": calling}} if calling else {}),
    }
