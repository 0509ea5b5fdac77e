"""What is known of vendors' models, so that nobody has to look it up. A help, no list of what is allowed."""

from dataclasses import dataclass

from llm.choices import ModelKind


@dataclass(frozen=True)
class KnownModel:
    """max_input_tokens: of one input. dimensions: of the vectors that come without asking for a size."""

    kind: ModelKind
    max_input_tokens: int
    dimensions: int | None = None


DEFAULT_CHAT = "gpt-4.1-mini"
DEFAULT_EMBEDDING = "text-embedding-3-small"

CATALOGUE = {
    "gpt-4.1": KnownModel(ModelKind.CHAT, 1_000_000),
    DEFAULT_CHAT: KnownModel(ModelKind.CHAT, 1_000_000),
    "gpt-4.1-nano": KnownModel(ModelKind.CHAT, 1_000_000),
    "gpt-4o": KnownModel(ModelKind.CHAT, 128_000),
    "gpt-4o-mini": KnownModel(ModelKind.CHAT, 128_000),
    DEFAULT_EMBEDDING: KnownModel(ModelKind.EMBEDDING, 8191, 1536),
    "text-embedding-3-large": KnownModel(ModelKind.EMBEDDING, 8191, 3072),
    "text-embedding-ada-002": KnownModel(ModelKind.EMBEDDING, 8191, 1536),
    "nomic-embed-text": KnownModel(ModelKind.EMBEDDING, 2048, 768),
    "mxbai-embed-large": KnownModel(ModelKind.EMBEDDING, 512, 1024),
    "bge-m3": KnownModel(ModelKind.EMBEDDING, 8192, 1024),
}


def known_facts(identifier: str, kind: ModelKind) -> dict[str, int | None]:
    """The columns of a model that the catalogue can fill; empty for a model that it does not know."""
    known = CATALOGUE.get(identifier)
    if known is None or known.kind is not kind:
        return {}
    return {"max_input_tokens": known.max_input_tokens, "dimensions": known.dimensions}
