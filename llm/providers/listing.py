"""Reading the models that a vendor lists: their kind, and what else it says of them."""

from collections.abc import Mapping
from typing import Any

from plugins.contracts import ListedModel

_EMBEDDING = ("embed", "bge-", "gte-", "e5-", "minilm")
_RERANK = ("rerank",)
_NEITHER = (
    "whisper",
    "tts",
    "dall-e",
    "image",
    "audio",
    "realtime",
    "moderation",
    "transcribe",
    "sora",
    "imagen",
    "veo",
)
MOST_TOKENS = 100_000_000  # what is larger is no context

# What servers of OpenAI's protocol call the tokens that a model reads: OpenRouter and Together, Mistral, Groq, vLLM.
_LIMITS = ("context_length", "max_context_length", "context_window", "max_model_len")
# Together's `type`.
_TYPES = {"chat": "chat", "language": "chat", "embedding": "embedding", "rerank": "rerank", "image": "", "audio": ""}
# OpenRouter's `supported_parameters`, where one that is not named is not there.
_PARAMETERS = {
    "tools": "tool_calling",
    "response_format": "json_mode",
    "structured_outputs": "json_schema",
    "reasoning": "reasoning",
}
# Flags of Mistral's `capabilities`, and Fireworks' beside the identifier.
_FLAGS = {
    "function_calling": "tool_calling",
    "supports_tools": "tool_calling",
    "vision": "vision",
    "supports_image_input": "vision",
}


def guessed_kind(identifier: str) -> str:
    """`embedding`, `rerank` or `chat` by the name, as most vendors say nothing else; empty for what is none of them."""
    name = identifier.lower()
    if any(part in name for part in _RERANK):
        return "rerank"
    if any(part in name for part in _EMBEDDING):
        return "embedding"
    return "" if any(part in name for part in _NEITHER) else "chat"


def described(identifier: str, said: Mapping[str, Any]) -> ListedModel:
    """A model of a server that speaks OpenAI's protocol. said: what the server lists beyond that protocol."""
    kind = _TYPES.get(str(said.get("type")), guessed_kind(identifier))
    title = said.get("name") or said.get("display_name")
    return ListedModel(
        identifier,
        kind,
        title if isinstance(title, str) and title != identifier else "",
        tokens(said, *_LIMITS),
        _capabilities(said) if kind == "chat" else {},
    )


def _capabilities(said: Mapping[str, Any]) -> dict[str, bool]:
    nested = said.get("capabilities")
    flags = {**said, **(nested if isinstance(nested, dict) else {})}
    found = {name: flags[flag] for flag, name in _FLAGS.items() if isinstance(flags.get(flag), bool)}
    modalities = said.get("architecture")
    if isinstance(modalities, dict) and isinstance(modalities.get("input_modalities"), list):
        found["vision"] = "image" in modalities["input_modalities"]
    return {**found, **able(said.get("supported_parameters"), _PARAMETERS)}


def able(features: Any, names: Mapping[str, str]) -> dict[str, bool]:
    """Our capabilities by a vendor's whole list of features; nothing where it sends no list."""
    if not isinstance(features, list):
        return {}
    return {name: feature in features for feature, name in names.items()}


def tokens(row: Mapping[str, Any], *names: str) -> int | None:
    """The first of these that is a number of tokens."""
    found = (row.get(name) for name in names)
    return next((one for one in found if type(one) is int and 0 < one <= MOST_TOKENS), None)
