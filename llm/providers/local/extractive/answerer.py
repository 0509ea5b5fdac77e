"""The extractive answerer: the passages' own sentences, each with its marker, or nothing.

It never writes a word of its own, so it cannot invent; what it can do is choose badly, or answer what the passages do
not hold. Against the second stands a threshold on an estimate of answerability, calibrated on other data than it is
judged on (docs/extractive.md has method and figures).
"""

import re

from llm.providers.local.extractive.answerability import THRESHOLD, answerability
from llm.providers.local.extractive.features import Scored, rank, stems
from plugins.contracts import Grounding

MAX_SENTENCES = 3
NEAR_BEST = 0.88  # share of the best sentence's fit that another one needs to be quoted too
REPEATED = 0.7  # share of its stems that a sentence may have in common with one that is quoted already
BULLET = re.compile(r"^\s*(?:[-*+•‣◦]|\d{1,3}[.)])\s+")


def compose(grounding: Grounding) -> str | None:
    """The answer with its markers, or None when the passages do not seem to hold one."""
    question, ranked = rank(grounding)
    if not ranked or answerability(question, ranked) < THRESHOLD:
        return None
    return " ".join(f"{_shown(one.sentence.text)} [{one.sentence.passage.marker}]" for one in _chosen(ranked))


def _chosen(ranked: list[Scored]) -> list[Scored]:
    """The best sentence and up to two that are nearly as good and say something else."""
    best = ranked[0]
    chosen = [best]
    for one in ranked[1:12]:
        if len(chosen) == MAX_SENTENCES or one.score < NEAR_BEST * best.score:
            break
        if not any(_repeats(one, other) for other in chosen):
            chosen.append(one)
    return chosen


def _repeats(one: Scored, other: Scored) -> bool:
    words = set(stems(one.sentence.text))
    shared = words & set(stems(other.sentence.text))
    return not words or len(shared) / len(words) > REPEATED


def _shown(text: str) -> str:
    """The sentence without the mark of its list item, on one line."""
    return " ".join(BULLET.sub("", text).split())
