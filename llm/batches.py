"""Cutting texts into requests that a vendor takes, alike in length so that little is padded."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm.tokens import CHARACTERS_PER_TOKEN, estimate_tokens

MAX_INPUTS = 2048
SENT_TOKENS = 60_000  # smaller requests than the vendors allow: several are in flight, and one that fails costs less


@dataclass(frozen=True)
class Batch:
    """Texts of one request and their places in the caller's list."""

    positions: tuple[int, ...]
    texts: tuple[str, ...]

    def halves(self) -> tuple["Batch", "Batch"]:
        middle = len(self.texts) // 2
        return (
            Batch(self.positions[:middle], self.texts[:middle]),
            Batch(self.positions[middle:], self.texts[middle:]),
        )


def batches(texts: Sequence[str], max_input_tokens: int, most_tokens: int = SENT_TOKENS) -> list[Batch]:
    """Requests of at most MAX_INPUTS texts and most_tokens tokens. A text over the model's limit is cut; an empty
    one is sent as a blank, because vendors refuse the empty string."""
    longest = int(max_input_tokens * CHARACTERS_PER_TOKEN)
    cut = [text[:longest] or " " for text in texts]
    order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
    found: list[Batch] = []
    positions: list[int] = []
    tokens = 0
    for index in order:
        more = estimate_tokens(cut[index])
        if positions and (len(positions) >= MAX_INPUTS or tokens + more > most_tokens):
            found.append(_batch(positions, cut))
            positions, tokens = [], 0
        positions.append(index)
        tokens += more
    if positions:
        found.append(_batch(positions, cut))
    return found


def _batch(positions: Sequence[int], texts: Sequence[str]) -> Batch:
    return Batch(tuple(positions), tuple(texts[i] for i in positions))
