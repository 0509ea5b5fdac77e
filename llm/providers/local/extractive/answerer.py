"""The extractive answerer: the passages' own sentences, each with its marker, or nothing.

It never writes a word of its own, so it cannot invent; what it can do is choose badly, or answer what the passages do
not hold. Against the second stands a threshold on an estimate of answerability, calibrated on other data than it is
judged on (docs/extractive.md has method and figures).
"""

from collections.abc import Sequence

from llm.providers.local.extractive.answerability import is_answerable
from llm.providers.local.extractive.evidence import Finding, gather
from llm.providers.local.extractive.questions import stems
from llm.providers.local.extractive.units import shown
from plugins.contracts import Grounding

MAX_PASSAGES = 3
MAX_SENTENCES = 5
# How much less than the best another sentence may fit: from another passage, from a quoted one, a row from its table.
GAP_ELSEWHERE, GAP_BESIDE, GAP_ROW = 0.2, 0.1, 0.3
REPEATED = 0.7  # share of its stems that a sentence may have in common with one that is quoted already


def compose(grounding: Grounding) -> str | None:
    """The answer with its markers, or None when the passages do not seem to hold one."""
    evidence = gather(grounding)
    if not is_answerable(evidence):
        return None
    return " ".join(f"{shown(one.text)} [{one.passage.marker}]" for one in chosen(evidence.findings))


def chosen(findings: Sequence[Finding]) -> list[Finding]:
    """The best sentence, those nearly as good that say something else; passages by their best, each read in order."""
    best = findings[0]
    quoted: dict[int, list[Finding]] = {}
    for one in findings:
        beside = quoted.get(one.passage.marker, [])
        if sum(map(len, quoted.values())) == MAX_SENTENCES or one.fit < best.fit - max(GAP_ELSEWHERE, GAP_ROW):
            break
        if one.fit < best.fit - _gap(one, beside) or (not beside and len(quoted) == MAX_PASSAGES):
            continue
        if not any(_repeats(one, other) for others in quoted.values() for other in others):
            quoted.setdefault(one.passage.marker, []).append(one)
    return [one for several in quoted.values() for one in sorted(several, key=lambda one: one.unit.start)]


def _gap(one: Finding, beside: Sequence[Finding]) -> float:
    if not beside:
        return GAP_ELSEWHERE
    return GAP_ROW if one.unit.is_row and any(other.unit.is_row for other in beside) else GAP_BESIDE


def _repeats(one: Finding, other: Finding) -> bool:
    """Whether the sentence says little that the other does not. Figures tell rows of one table apart."""
    words, known = stems(one.text), stems(other.text)
    return len(words & known) > REPEATED * len(words)
