"""How well each sentence of the passages fits a question, and how well the passages fit as a whole.

The model reads every passage once, under its headings. A sentence's vector is the mean of its word pieces as they
were read there, so that `it` and a bare list item mean what they mean in their place ("late chunking", Günther et al.,
2024); a word of the question counts as met as far as the nearest word piece is like it (MaxSim: Khattab and Zaharia,
2020).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm.providers.local import embedding
from llm.providers.local.embedding import TokenVectors, unit
from llm.providers.local.extractive.questions import Question, stems, understand
from llm.providers.local.extractive.units import Unit, units_of
from plugins.contracts import Grounding, GroundingPassage, Vectors

MAX_WINDOWS = 12  # readings of 256 word pieces for one answer
ROOM = embedding.MAX_TOKENS - 4
SAME_WORD = 0.7  # least likeness of a question's word to a passage that holds a word of the same stem
READ_AGAIN = 3  # sentences
LONGEST_HEADING = 200  # characters

Encode = Callable[[Sequence[str]], list[TokenVectors]]


@dataclass(frozen=True)
class Window:
    """A stretch of a passage that the model reads at once: heading, newline, the passage's text from start to end."""

    passage: GroundingPassage
    heading: str
    start: int
    end: int
    units: tuple[Unit, ...]

    @property
    def text(self) -> str:
        return f"{self.heading}\n{self.passage.text[self.start : self.end]}"

    def place(self, unit_: Unit) -> tuple[int, int]:
        """Where the unit stands in `text`."""
        shift = len(self.heading) + 1 - self.start
        return unit_.start + shift, unit_.end + shift


@dataclass(frozen=True)
class Finding:
    """A sentence and its measures, 0 to 1 (likenesses may fall a little below 0).

    cosine: of question and sentence. met: how like the question's word pieces are to their nearest in the sentence,
    on average. words: the same for its telling words, weighted. `in_place` takes the headings along, and for the items
    of a list the line that introduces them.
    fits: it holds the kind of thing that is asked for, or nothing particular is.
    """

    passage: GroundingPassage
    unit: Unit
    cosine: float
    met: float
    met_in_place: float
    words: float
    words_in_place: float
    fits: bool

    @property
    def text(self) -> str:
        return self.passage.text[self.unit.start : self.unit.end]

    @property
    def likeness(self) -> float:
        """How much the sentence is like the question. The weights were chosen by hand on the calibration set."""
        pieces = 0.5 * self.met + 0.5 * self.met_in_place
        return pieces + 0.5 * self.cosine + 0.2 * self.words + 0.3 * self.words_in_place

    @property
    def fit(self) -> float:
        """The order of sentences: likeness, less for a passage further down and for the wrong kind of thing."""
        return self.likeness - 0.02 * self.passage.marker - (0.0 if self.fits else 0.06)


@dataclass(frozen=True)
class Reading:
    """One window as a whole: how like the question's telling words are to the nearest word piece of the window.

    soft: weighted mean over the words. least: of the word that is met worst.
    """

    soft: float
    least: float


@dataclass(frozen=True)
class Evidence:
    """findings: best first. readings: one a window. closest: cosine of the question and the nearest of the best
    sentences, read by itself under its nearest heading."""

    findings: tuple[Finding, ...]
    readings: tuple[Reading, ...]
    closest: float


def gather(grounding: Grounding, encode: Encode = embedding.token_vectors) -> Evidence:
    """Everything that the passages hold for the question."""
    # By itself: beside long windows it would be padded to their length, and cost as much as one of them.
    question = understand(grounding.question, encode([grounding.question])[0])
    if question is None:
        return Evidence((), (), 0.0)
    windows = _relevant(grounding.question, [w for passage in grounding.passages for w in _windows(passage)])
    findings: list[Finding] = []
    readings: list[Reading] = []
    for window, tokens in zip(windows, encode([window.text for window in windows]), strict=True):
        if not len(tokens.vectors):
            continue
        readings.append(_reading(question, window, tokens))
        findings.extend(_findings(question, window, tokens))
    findings.sort(key=lambda one: -one.fit)
    return Evidence(tuple(findings), tuple(readings), _closest(question, findings[:READ_AGAIN], encode))


def _closest(question: Question, findings: Sequence[Finding], encode: Encode) -> float:
    """A sentence's own vector is what the model was trained for; the best few are worth a second reading."""
    texts = []
    for one in findings:
        heading = (one.passage.heading_path or (one.passage.title,))[-1]
        texts.append(f"{heading}: {one.text}" if heading else one.text)
    return max((float(read.whole @ question.vector) for read in encode(texts)), default=0.0)


def _windows(passage: GroundingPassage) -> Iterator[Window]:
    heading = " › ".join(dict.fromkeys(part for part in (passage.title, *passage.heading_path) if part))
    heading = heading[:LONGEST_HEADING]
    room = ROOM - embedding.count_tokens(heading)
    units: list[Unit] = []
    used = 0
    for one in units_of(passage):
        tokens = embedding.count_tokens(passage.text[one.start : one.end])
        if units and used + tokens > room:
            yield Window(passage, heading, units[0].start, units[-1].end, tuple(units))
            units, used = [], 0
        units.append(one)
        used += tokens
    if units:
        yield Window(passage, heading, units[0].start, units[-1].end, tuple(units))


def _relevant(question: str, windows: list[Window]) -> list[Window]:
    """At most MAX_WINDOWS, those that share most words with the question, in reading order."""
    if len(windows) <= MAX_WINDOWS:
        return windows
    asked = stems(question)
    order = sorted(range(len(windows)), key=lambda i: (-len(asked & stems(windows[i].text)), i))
    return [windows[i] for i in sorted(order[:MAX_WINDOWS])]


def _reading(question: Question, window: Window, tokens: TokenVectors) -> Reading:
    nearest = _nearest(question, tokens.vectors, stems(window.text))
    return Reading(soft=float(nearest @ question.weights), least=float(nearest.min()))


def _findings(question: Question, window: Window, tokens: TokenVectors) -> Iterator[Finding]:
    in_heading = stems(window.heading)
    lefts, rights = np.array(tokens.spans).T
    heading = np.flatnonzero(rights <= len(window.heading))
    lead, in_lead = heading[:0], frozenset[str]()
    for one in window.units:
        start, end = window.place(one)
        places = np.flatnonzero((lefts >= start) & (rights <= end))
        text = window.passage.text[one.start : one.end]
        held = stems(text)
        if not one.is_item or one.introduces:
            lead, in_lead = (places, held) if one.introduces else (heading[:0], frozenset())
        if not one.quotable or not len(places):
            continue
        own, in_place = tokens.vectors[places], tokens.vectors[np.concatenate([heading, lead, places])]
        yield Finding(
            passage=window.passage,
            unit=one,
            cosine=float(unit(own.mean(axis=0)) @ question.vector),
            met=float((question.pieces @ own.T).max(axis=1).mean()),
            met_in_place=float((question.pieces @ in_place.T).max(axis=1).mean()),
            words=float(_nearest(question, own, held) @ question.weights),
            words_in_place=float(_nearest(question, in_place, held | in_heading | in_lead) @ question.weights),
            fits=question.wanted is None or bool(question.wanted.search(text)),
        )


def _nearest(question: Question, vectors: Vectors, held: frozenset[str]) -> Vectors:
    """For each telling word of the question its likeness to the nearest of the word pieces, shape (terms,).

    A word whose stem is there counts SAME_WORD at least: the model reads a name or a number by its neighbours."""
    same = np.array([SAME_WORD if term in held else 0.0 for term in question.terms])
    nearest: Vectors = np.maximum((question.term_vectors @ vectors.T).max(axis=1), same)
    return nearest
