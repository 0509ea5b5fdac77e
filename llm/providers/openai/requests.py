"""A chat request in the words of OpenAI's protocol."""

import base64
from typing import Any

from plugins.contracts import ChatMessage, ChatRequest, MessageRole, NamedTool, OutputFormat, ToolCall, ToolMode


def chat_arguments(request: ChatRequest) -> dict[str, Any]:
    """What `chat.completions.create` takes; settings that are None are left out."""
    settings = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "reasoning_effort": request.reasoning_effort and request.reasoning_effort.value,
        "response_format": None if request.output is None else _response_format(request.output),
        **_tools(request),
    }
    return {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in settings.items() if value is not None},
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role is MessageRole.TOOL:
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if message.tool_calls:
        # A turn of calls alone has no content; some servers refuse an empty text beside calls.
        calls = [_call(call) for call in message.tool_calls]
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


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _tools(request: ChatRequest) -> dict[str, Any]:
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
        "tool_choice": _tool_choice(request.tool_choice),
    }


def _tool_choice(choice: ToolMode | NamedTool | None) -> str | dict[str, Any] | None:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice and choice.value


def _response_format(output: OutputFormat) -> dict[str, Any]:
    """A schema is a request here and not a promise (`strict` knows a part of JSON Schema only): callers check."""
    if output.schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(output.schema)}}
