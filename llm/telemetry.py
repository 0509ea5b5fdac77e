"""Attributes of spans by OpenTelemetry's conventions for generative AI (1.41 and later, `gen_ai.*`), by level.

Names as in opentelemetry-semantic-conventions 0.66b2; what the conventions have no name for is `magnet.*`. Contents
stand in a span at the level full alone; at metadata only ids and sizes, at none only what was counted and timed.
"""

from collections.abc import Sequence
from typing import Any

from llm.models import Model
from observability.choices import ObservabilityLevel
from observability.tracing import level_now
from plugins.contracts import ChatMessage, ChatRequest, FinishReason, MessageRole, TokenUsage

# Well-known values of gen_ai.provider.name; other types of ours stand as they are.
PROVIDER_NAMES = {
    "azure_openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gen_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}


def request_attributes(model: Model) -> dict[str, Any]:
    """What a call is about, whatever its kind."""
    kind = str(model.provider.type)
    return {
        "gen_ai.provider.name": PROVIDER_NAMES.get(kind, kind),
        "gen_ai.request.model": model.identifier,
        "magnet.provider": model.provider.slug,
        "magnet.model": model.slug,
    }


def chat_attributes(model: Model, request: ChatRequest) -> dict[str, Any]:
    """The same for a chat, with its settings and, by level, its messages or their size."""
    settings = {
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.max_tokens": request.max_tokens,
    }
    return {
        **request_attributes(model),
        **{name: value for name, value in settings.items() if value is not None},
        "gen_ai.request.stream": True,
        "gen_ai.output.type": "text" if request.output is None else "json",
        **_messages(request.messages),
    }


def _messages(messages: Sequence[ChatMessage]) -> dict[str, Any]:
    level = level_now()
    if level is ObservabilityLevel.NONE:
        return {}
    sizes = {
        "magnet.input.messages": len(messages),
        "magnet.input.characters": sum(len(one.content) for one in messages),
    }
    if level is not ObservabilityLevel.FULL:
        return sizes
    system = [_part(one.content) for one in messages if one.role is MessageRole.SYSTEM]
    said = [_message(one) for one in messages if one.role is not MessageRole.SYSTEM]
    return {
        **sizes,
        **({"gen_ai.system_instructions": system} if system else {}),
        "gen_ai.input.messages": said,
    }


def _message(message: ChatMessage) -> dict[str, Any]:
    return {"role": message.role.value, "parts": [_part(message.content)]}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def answer_attributes(text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
    """Why an answer ended and, by level, what it says or its size."""
    level, reason = level_now(), str(finish_reason)
    found: dict[str, Any] = {"gen_ai.response.finish_reasons": [reason]}
    if level is not ObservabilityLevel.NONE:
        found["magnet.output.characters"] = len(text)
    if level is ObservabilityLevel.FULL:
        answer = {"role": "assistant", "parts": [_part(text)], "finish_reason": reason}
        found["gen_ai.output.messages"] = [answer]
    return found


def usage_attributes(usage: Sequence[TokenUsage]) -> dict[str, Any]:
    """Tokens of all requests of a call. Cached and reasoning tokens are parts of the two sums."""
    return {
        "gen_ai.usage.input_tokens": sum(one.input_tokens for one in usage),
        "gen_ai.usage.output_tokens": sum(one.output_tokens for one in usage),
        "gen_ai.usage.cache_read.input_tokens": sum(one.cached_input_tokens for one in usage),
        "gen_ai.usage.reasoning.output_tokens": sum(one.reasoning_tokens for one in usage),
        **({"magnet.usage.estimated": True} if any(one.estimated for one in usage) else {}),
    }
