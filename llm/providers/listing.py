"""Sorting the models that a vendor lists."""

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


def guessed_kind(identifier: str) -> str:
    """`embedding`, `rerank` or `chat` by the name, as most vendors say nothing else; empty for what is none of them."""
    name = identifier.lower()
    if any(part in name for part in _RERANK):
        return "rerank"
    if any(part in name for part in _EMBEDDING):
        return "embedding"
    return "" if any(part in name for part in _NEITHER) else "chat"
