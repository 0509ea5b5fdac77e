"""The numbered context: the passages as the model sees them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from plugins.contracts import Grounding, GroundingPassage


@dataclass(frozen=True)
class Passage:
    """A retrieved passage with its number in the context.

    text: exactly the document's text at char_start:char_end (with neighbours it is longer than the chunk).
    """

    marker: int
    chunk_id: uuid.UUID
    document_id: uuid.UUID
    title: str
    url: str
    page: int | None
    heading_path: tuple[str, ...]
    text: str
    char_start: int
    char_end: int


def render_context(passages: Sequence[Passage]) -> str:
    """`[n] title`, newline, text; a blank line between passages. A passage cannot close the tag that it stands in."""
    return "\n\n".join(f"[{p.marker}] {_headline(p)}\n{p.text}" for p in passages).replace("</", "< /")


def _headline(passage: Passage) -> str:
    parts = [passage.title, *(heading for heading in passage.heading_path if heading != passage.title)]
    return " › ".join(parts)


def grounding(question: str, passages: Sequence[Passage]) -> Grounding:
    """The same for models that answer from passages alone."""
    return Grounding(
        question=question,
        passages=tuple(GroundingPassage(p.marker, p.text, p.title, p.heading_path) for p in passages),
    )
