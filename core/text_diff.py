"""Where two texts differ, word by word, for people who compare them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

MAX_WORDS = 3000
"""Longer texts are compared by lines: the comparison takes time by the square of what it compares."""

WORDS = re.compile(r"\w+|\s+|[^\w\s]")
LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Part:
    """A stretch of a text. differs: the other text does not have it there."""

    text: str
    differs: bool


def text_diff(before: str, after: str) -> tuple[list[Part], list[Part]]:
    """Both texts in parts; joined, the parts are the texts."""
    old, new = WORDS.findall(before), WORDS.findall(after)
    if max(len(old), len(new)) > MAX_WORDS:
        old, new = LINES.findall(before), LINES.findall(after)
    steps = SequenceMatcher(None, old, new).get_opcodes()
    return (
        _parts((old[a:b], kind != "equal") for kind, a, b, _c, _d in steps),
        _parts((new[c:d], kind != "equal") for kind, _a, _b, c, d in steps),
    )


def _parts(pieces: Iterable[tuple[list[str], bool]]) -> list[Part]:
    """Neighbours are one part, and so is the space between two words that differ."""
    found = [Part("".join(piece), differs) for piece, differs in pieces if piece]
    joined: list[Part] = []
    for n, part in enumerate(found):
        gap = part.text.strip(" ") == "" and 0 < n < len(found) - 1
        differs = part.differs or (gap and found[n - 1].differs and found[n + 1].differs)
        if joined and joined[-1].differs == differs:
            joined[-1] = Part(joined[-1].text + part.text, differs)
        else:
            joined.append(Part(part.text, differs))
    return joined
