"""The extractive answerer: the passages' own sentences, each with its marker, or nothing.

It never writes a word of its own, so it cannot invent; what it can do is choose badly, or answer what the passages do
not hold. Against the second stands a threshold on an estimate of answerability, calibrated on other data than it is
judged on (docs/extractive.md has method and figures).
"""

from collections.abc import Iterable, Sequence

from llm.providers.local.extractive.answerability import is_answerable
from llm.providers.local.extractive.evidence import Finding, gather
from llm.providers.local.extractive.questions import stems
from llm.providers.local.extractive.units import shown
from plugins.contracts import Grounding

MAX_PASSAGES = 3
MAX_BESIDE, MAX_ITEMS = 1, 7  # further sentences, or items of the list or table, that a quoted passage may add
# How much less a sentence may fit: than the best of all, to bring in its passage; than the best of its passage, to
# stand beside it, or beside it in the same list. A list is quoted whole when it fits nearly as well as the best of all.
GAP_ELSEWHERE, GAP_BESIDE, GAP_ITEM, GAP_LIST = 0.2, 0.15, 0.2, 0.1
REPEATED = 0.7  # share of its stems that a sentence may have in common with one that is quoted already


def compose(grounding: Grounding) -> str | None:
    """The answer with its markers, or None when the passages do not seem to hold one."""
    evidence = gather(grounding)
    if not is_answerable(evidence):
        return None
    return " ".join(f"{shown(one.text)} [{one.passage.marker}]" for one in chosen(evidence.findings))


def chosen(findings: Sequence[Finding]) -> list[Finding]:
    """The best sentences of the best passages, best passage first, those of one passage in reading order."""
    quoted: list[Finding] = []
    leads = _leads(findings)
    for lead in leads:
        others = [one for one in [*quoted, *leads] if one is not lead]
        beside = _beside(lead, findings, others)
        quoted.extend(sorted([lead, *beside], key=lambda one: one.unit.start))
    return quoted


def _leads(findings: Sequence[Finding]) -> list[Finding]:
    """The best sentence of each passage that is quoted."""
    leads: dict[int, Finding] = {}
    for one in findings:
        near = one.fit >= findings[0].fit - GAP_ELSEWHERE
        if near and len(leads) < MAX_PASSAGES and not _repeats(one, leads.values()):
            leads.setdefault(one.passage.marker, one)
    return list(leads.values())


def _beside(lead: Finding, findings: Sequence[Finding], quoted: Sequence[Finding]) -> list[Finding]:
    """What the passage has to add: the items of its list or table, or else what is nearly as good."""
    whole_list = lead.unit.is_item and lead.fit >= findings[0].fit - GAP_LIST
    gap, most = (GAP_ITEM, MAX_ITEMS) if whole_list else (GAP_BESIDE, MAX_BESIDE)
    found: list[Finding] = []
    for one in findings:
        same = one.passage.marker == lead.passage.marker and (one.unit.is_item or not whole_list)
        if same and one.fit >= lead.fit - gap and len(found) < most and not _repeats(one, [lead, *found, *quoted]):
            found.append(one)
    return found


def _repeats(one: Finding, others: Iterable[Finding]) -> bool:
    """Whether the sentence says little that one of the others does not. Figures tell rows of one table apart."""
    words = stems(one.text)
    return any(len(words & stems(other.text)) > REPEATED * len(words) for other in others)
