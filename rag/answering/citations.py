"""From an answer with markers to citations that hold: which words of which passage support which sentence."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from core.sentences import split_sentences
from rag.answering.context import Passage
from rag.answering.support import SUPPORTED, Span, best_span, content_words

MARKER = re.compile(r"\[(\d{1,4})\]")
MARKERS_AT_START = re.compile(r"\s*(?:\[\d{1,4}\]\s*)+")


@dataclass(frozen=True)
class ResolvedCitation:
    """A marker of the answer and the words behind it. char_start and char_end point into the document's text."""

    passage: Passage
    quote: str
    char_start: int
    char_end: int
    support: float

    @property
    def marker(self) -> int:
        return self.passage.marker

    @property
    def verified(self) -> bool:
        """The quote stands verbatim where it says (it is cut from there) and supports the sentence."""
        return self.support >= SUPPORTED


@dataclass(frozen=True)
class Checked:
    """citations: one per marker and sentence that differ. unsupported: (start, end) of sentences without support."""

    citations: tuple[ResolvedCitation, ...]
    unsupported: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Sentence:
    start: int
    end: int
    text: str
    markers: tuple[int, ...]


def check_citations(content: str, passages: Sequence[Passage]) -> Checked:
    """Resolve every marker and judge every sentence of a finished answer."""
    by_marker = {passage.marker: passage for passage in passages}
    best: dict[int, ResolvedCitation] = {}
    unsupported: list[tuple[int, int]] = []
    for sentence in _sentences(content):
        resolved = [_resolve(sentence.text, by_marker[n]) for n in sentence.markers if n in by_marker]
        for citation in resolved:
            known = best.get(citation.marker)
            if known is None or citation.support > known.support:
                best[citation.marker] = citation
        if content_words(sentence.text) and not any(citation.verified for citation in resolved):
            unsupported.append((sentence.start, sentence.end))
    return Checked(tuple(best[number] for number in sorted(best)), tuple(unsupported))


def _resolve(sentence: str, passage: Passage) -> ResolvedCitation:
    span: Span = best_span(sentence, passage.text)
    quote = passage.text[span.start : span.end]
    return ResolvedCitation(
        passage=passage,
        quote=quote,
        char_start=passage.char_start + span.start,
        char_end=passage.char_start + span.end,
        support=span.support,
    )


def _sentences(content: str) -> Iterator[_Sentence]:
    """Sentences with the markers that stand in them or right behind them."""
    bounds = list(split_sentences(content))
    for index, (start, end) in enumerate(bounds):
        lead = MARKERS_AT_START.match(content, start, end)
        own_start = lead.end() if lead else start
        follow_end = end
        if index + 1 < len(bounds):
            following = MARKERS_AT_START.match(content, *bounds[index + 1])
            follow_end = following.end() if following else end
        found = MARKER.findall(content[own_start:end]) + MARKER.findall(content[end:follow_end])
        text = MARKER.sub("", content[own_start:end]).strip()
        if text:
            yield _Sentence(own_start, end, text, tuple(dict.fromkeys(int(number) for number in found)))
