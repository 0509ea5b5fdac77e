"""What a caller of /v1 asks for, whichever of its endpoints took it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plugins.contracts import ChatMessage, ChatRequest


@dataclass(frozen=True)
class Asked:
    """model: as the caller names it. turns: all messages, the caller's instructions as system messages.

    settings: what a raw model is called with; slugs take `max_tokens` of it and ignore the rest. foreign: what slugs
    refuse, as (parameter, why). metadata: the variables of a prompt template.
    """

    model: str
    turns: tuple[ChatMessage, ...]
    settings: ChatRequest
    metadata: Mapping[str, Any] = field(default_factory=dict)
    foreign: tuple[tuple[str, str], ...] = ()
    stream: bool = False
    include_usage: bool = False

    @property
    def request(self) -> ChatRequest:
        """The call of a raw model."""
        return replace(self.settings, messages=self.turns)
