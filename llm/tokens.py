"""Counting tokens."""

from llm.choices import ProviderType
from llm.models import Model
from plugins.contracts import TokenCounter

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
