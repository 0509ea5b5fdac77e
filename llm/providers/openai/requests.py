"""A chat request in the words of OpenAI's protocol."""

import base64
import hashlib
from typing import Any

from llm.providers.presets import Quirks
from plugins.contracts import ChatMessage, ChatRequest, MessageRole, NamedTool, OutputFormat, ToolMode


def chat_arguments(request: ChatRequest, quirks: Quirks) -> dict[str, Any]:
    """What `chat.completions.create` takes, in this vendor's words; settings that are None are left out."""
    samples = quirks.samples(request.model)
    settings = {
        "temperature": request.temperature if samples else None,
        "top_p": request.top_p if samples else None,
        (quirks.max_tokens if samples else "max_completion_tokens"): request.max_tokens,
        quirks.seed: request.seed,
        "stop": list(request.stop) or None,
        "reasoning_effort": request.reasoning_effort.value if request.reasoning_effort and quirks.effort else None,
        "response_format": None if request.output is None else _response_format(request.output),
        "stream_options": {"include_usage": True} if request.stream and quirks.stream_options else None,
        **_tools(request, quirks),
    }
    given = {name: value for name, value in settings.items() if value is not None}
    # What the client has no argument for.
    extra = {name: given.pop(name) for name in ("random_seed",) if name in given}
    return {
        "model": request.model,
        "messages": [_message(message, quirks) for message in request.messages],
        "stream": request.stream,
        **given,
        **({"extra_body": extra} if extra else {}),
    }


def _message(message: ChatMessage, quirks: Quirks) -> dict[str, Any]:
    if message.role is MessageRole.TOOL:
        return {"role": "tool", "tool_call_id": _id(message.tool_call_id, quirks), "content": message.content}
    if message.tool_calls:
        # A turn of calls alone has no content; some servers refuse an empty text beside calls.
        calls = [
            {
                "id": _id(call.id, quirks),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
        return {"role": message.role.value, "content": message.content or None, "tool_calls": calls}
    if message.images:
        shown = [
            {
                "type": "image_url",
                "image_url": {"url": f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"},
            }
            for image in message.images
        ]
        return {"role": message.role.value, "content": [{"type": "text", "text": message.content}, *shown]}
    return {"role": message.role.value, "content": message.content}


def _id(call_id: str, quirks: Quirks) -> str:
    """The id of a call as this vendor takes it: one of another vendor's calls in the history keeps its meaning."""
    if not quirks.short_call_ids or (len(call_id) == 9 and call_id.isascii() and call_id.isalnum()):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def _tools(request: ChatRequest, quirks: Quirks) -> dict[str, Any]:
    if not request.tools:
        return {}
    return {
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ],
        "tool_choice": _tool_choice(request.tool_choice, quirks),
    }


def _tool_choice(choice: ToolMode | NamedTool | None, quirks: Quirks) -> str | dict[str, Any] | None:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return quirks.any_tool if choice is ToolMode.REQUIRED else choice and choice.value


def _response_format(output: OutputFormat) -> dict[str, Any]:
    """A schema is a request here and not a promise (`strict` knows a part of JSON Schema only): callers check."""
    if output.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(output.schema)}}
