"""Counting tokens."""

from collections.abc import Sequence

from llm.choices import ProviderType
from llm.models import Model
from plugins.contracts import ChatRequest, TokenCounter, TokenUsage, ToolCall

CHARACTERS_PER_TOKEN = 3.6  # English prose and code with the tokenizers of current vendors; on the safe side


def estimate_tokens(text: str) -> int:
    """Roughly the tokens of the text, for models whose tokenizer is not here."""
    return int(len(text) / CHARACTERS_PER_TOKEN) + (1 if text else 0)


def count_tokens(model: Model) -> TokenCounter:
    """The counter that fits the model: exact for local ones, an estimate on the safe side for others."""
    if model.provider.type == ProviderType.LOCAL:
        from llm.providers.local.embedding import count_tokens as exact

        return exact
    return estimate_tokens


def counted_usage(request: ChatRequest, text: str, calls: Sequence[ToolCall] = ()) -> TokenUsage:
    """A vendor that sends no usage is counted by us, and the figures are marked. text, calls: of the answer."""
    given = "".join(f"{one.name}{one.description}{dict(one.parameters)}" for one in request.tools)
    for message in request.messages:
        given += message.content + "".join(call.arguments for call in message.tool_calls)
    said = text + "".join(call.name + call.arguments for call in calls)
    return TokenUsage(input_tokens=estimate_tokens(given), output_tokens=estimate_tokens(said), estimated=True)
