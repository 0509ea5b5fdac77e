"""What the extractive answerer measures: how well a sentence fits a question, and how answerable the question is.

All measures are between 0 and 1 and mean something to a reader, so that a refusal can be explained.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import snowballstemmer

from core.sentences import split_sentences
from llm.providers.local import embedding
from plugins.contracts import Grounding, GroundingPassage, Vectors

MAX_SENTENCES = 32
MAX_EMBEDDED = 600
WORD = re.compile(r"[^\W_]+(?:['’.][^\W_]+)*", re.UNICODE)
QUESTION_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being between both but by can could did do
    does doing during each few for from further get had has have having he her here him his how i if in into is it its
    just let make many may me might more most much must my need no nor not of off on once one only or other our out over
    own please same shall she should show so some such take tell than that the their them then there these they this
    those through to too under until up use used using very want was way we were what when where which while who whom
    whose why will with within without would you your
    """.split()  # noqa: SIM905  # a list of a hundred quoted words reads worse
)
NUMBER = re.compile(r"\d")
EXPECTS_NUMBER = re.compile(
    r"\b(how (?:many|much|long|old|often|far|high|large|big)|what (?:percentage|number|amount|limit))\b", re.I
)
EXPECTS_TIME = re.compile(r"\b(when|what (?:time|date|day|year)|by when|which (?:day|month|year))\b", re.I)
EXPECTS_PERSON = re.compile(r"\b(who|whom|whose)\b", re.I)
TIME = re.compile(
    r"\b(\d{1,2}[:.]\d{2}|\d{4}|january|february|march|april|may|june|july|august|september|october|november|december|"
    r"monday|tuesday|wednesday|thursday|friday|saturday|sunday|day|week|month|year|hour|o'clock|quarter)s?\b", re.I,
)  # fmt: skip
NAME = re.compile(
    r"(?<![.!?]\s)(?<!^)\b[A-Z][\w-]+|\b(?:team|manager|office|department|desk|officer|lead|director|board|committee)\b"
)


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage. context: what stands above it, for the meaning of `it`, `they` and bare list items."""

    passage: GroundingPassage
    text: str
    heading: str
    context: str


@dataclass(frozen=True)
class Scored:
    """A sentence with its fit."""

    sentence: Sentence
    score: float
    similarity: float
    coverage: float


def sentences_of(passages: Sequence[GroundingPassage]) -> list[Sentence]:
    """All sentences worth quoting, in reading order: no headings, no fragments."""
    found = []
    for passage in passages:
        heading = " – ".join(part for part in (passage.title, *passage.heading_path[-2:]) if part)
        before = ""
        for start, end in split_sentences(passage.text):
            text = passage.text[start:end]
            if _quotable(text):
                found.append(Sentence(passage, text, heading, f"{heading}. {before}".strip()))
            before = text[-200:]
    return found


def _quotable(text: str) -> bool:
    words = WORD.findall(text)
    return len(words) >= 3 and not text.startswith("#") and not text.rstrip().endswith(":") and len(text) <= 1200


@lru_cache(maxsize=1)
def _stemmer() -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=8192)
def stems(text: str) -> tuple[str, ...]:
    """Stems of the words that carry meaning, in order."""
    words = [word.lower().replace("’", "'") for word in WORD.findall(text)]
    return tuple(_stemmer().stemWords([word for word in words if word not in QUESTION_WORDS]))


class Question:
    """A question with its vector, its terms and how much each of them tells in these passages."""

    def __init__(self, text: str, sentences: Sequence[Sentence]) -> None:
        self.text = text
        self.terms = tuple(dict.fromkeys(stems(text)))
        counts = Counter(stem for sentence in sentences for stem in set(stems(sentence.text)))
        total = max(len(sentences), 1)
        self.weights = {term: math.log(1 + total / (0.5 + counts[term])) for term in self.terms}

    def coverage(self, text: str) -> float:
        """Share of the question's terms, weighted by rarity, that the text holds."""
        if not self.terms:
            return 0.0
        held = set(stems(text))
        return sum(w for term, w in self.weights.items() if term in held) / sum(self.weights.values())

    def score(self, sentence: Sentence, similarity: float) -> Scored:
        """How well the sentence answers: meaning, words with and without context, kind of answer, rank of passage."""
        coverage = self.coverage(f"{sentence.context} {sentence.text}")
        own = self.coverage(sentence.text)
        position = 1.0 / (1 + 0.15 * (sentence.passage.marker - 1))
        score = 0.55 * similarity + 0.15 * coverage + 0.15 * own + 0.1 * self.type_fits(sentence.text) + 0.05 * position
        return Scored(sentence, score, similarity, coverage)

    def type_fits(self, text: str) -> float:
        """1 when the text holds the kind of thing that is asked for, 0 when not, 0.5 when nothing is known."""
        for asked, wanted in ((EXPECTS_NUMBER, NUMBER), (EXPECTS_TIME, TIME), (EXPECTS_PERSON, NAME)):
            if asked.search(self.text):
                return 1.0 if wanted.search(text) else 0.0
        return 0.5


def similarities(question: str, sentences: Sequence[Sentence]) -> Vectors:
    """Cosine similarity of the question to each sentence under its heading."""
    texts = [question, *(f"{s.heading}: {s.text}"[:MAX_EMBEDDED] for s in sentences)]
    vectors, _ = embedding.embed(texts)
    found: Vectors = np.clip(vectors[1:] @ vectors[0], 0, 1)
    return found


def rank(grounding: Grounding) -> tuple[Question, list[Scored]]:
    """The sentences by fit, best first. Those that share the fewest words with the question are left out unread, so
    that an answer takes a fraction of a second."""
    sentences = sentences_of(grounding.passages)
    question = Question(grounding.question, sentences)
    sentences = sorted(sentences, key=lambda s: (-question.coverage(f"{s.context} {s.text}"), s.passage.marker))
    sentences = sentences[:MAX_SENTENCES]
    if not sentences:
        return question, []
    similarity = similarities(grounding.question, sentences)
    scored = [question.score(sentence, float(similarity[i])) for i, sentence in enumerate(sentences)]
    return question, sorted(scored, key=lambda one: -one.score)
