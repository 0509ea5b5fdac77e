"""Rendering a prompt: placeholders are substituted, never evaluated."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.exceptions import InvalidInput
from plugins.contracts import ChatMessage, MessageRole

PLACEHOLDER = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")


def variables_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the placeholders, in order of appearance."""
    return list(dict.fromkeys(name for one in messages for name in PLACEHOLDER.findall(str(one["content"]))))


def render(messages: Sequence[Mapping[str, Any]], variables: Mapping[str, str]) -> tuple[ChatMessage, ...]:
    """The messages with their placeholders replaced once: a placeholder inside a value stays text.

    Raises InvalidInput for a placeholder without a value.
    """
    missing = [name for name in variables_of(messages) if name not in variables]
    if missing:
        raise InvalidInput(f"The prompt needs values for: {', '.join(missing)}.")
    return tuple(
        ChatMessage(
            MessageRole(message["role"]), PLACEHOLDER.sub(lambda found: variables[found[1]], str(message["content"]))
        )
        for message in messages
    )
