"""Questions with the passages that a search found for them, answerable and not, and what the answerer makes of them."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from llm.providers.local import embedding
from llm.providers.local.calibration.retrieval import Index
from llm.providers.local.calibration.sets import LabelledQuestion, Passage, QuestionSet
from llm.providers.local.embedding import TokenVectors
from llm.providers.local.extractive.answerability import measures
from llm.providers.local.extractive.answerer import chosen
from llm.providers.local.extractive.evidence import gather
from plugins.contracts import Grounding, GroundingPassage

REMEMBERED = 400  # passages as read by the model; about 0.4 MB each


class Kind(StrEnum):
    """Why a question can be answered or not.

    found: a passage with the answer was retrieved. missed: there is one, and it was not. near: no passage answers it,
    though its topic is here. removed: the source with the answer was taken out. elsewhere: its whole document was.
    off_topic: a question of another set.
    """

    FOUND = "found"
    MISSED = "missed"
    NEAR = "near"
    REMOVED = "removed"
    ELSEWHERE = "elsewhere"
    OFF_TOPIC = "off topic"


@dataclass(frozen=True)
class Case:
    """gold: markers of the passages that hold the answer."""

    kind: Kind
    grounding: Grounding
    gold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """A case with the measures of its evidence and the markers that an answer would cite."""

    case: Case
    measures: dict[str, float]
    cited: frozenset[int]


def cases_of(given: QuestionSet, off_topic: Iterable[str] = ()) -> Iterator[Case]:
    """Every question of the set in all its kinds, then the questions of another set."""
    index = Index(given.passages)
    documents = {source: passage.document for passage in given.passages for source in passage.sources}
    for question in given.questions:
        if question.gold:
            yield from _with_gold(index, question, {documents[source] for source in question.gold})
        else:
            yield _case(Kind.NEAR, question.text, index.search(question.text))
    for text in off_topic:
        yield _case(Kind.OFF_TOPIC, text, index.search(text))


def outcomes(cases: Iterable[Case]) -> Iterator[Outcome]:
    """What the answerer would say to each case, and on what grounds."""
    for case in cases:
        evidence = gather(case.grounding, _encode)
        cited = chosen(evidence.findings) if evidence.findings else []
        yield Outcome(case, measures(evidence), frozenset(one.passage.marker for one in cited))


def sample(texts: Sequence[str], size: int) -> list[str]:
    """The same random texts each time."""
    return random.Random(1).sample(texts, min(size, len(texts)))  # noqa: S311  # nothing secret


def _with_gold(index: Index, question: LabelledQuestion, documents: set[str]) -> Iterator[Case]:
    found = _case(Kind.FOUND, question.text, index.search(question.text), question.gold)
    yield found if found.gold else Case(Kind.MISSED, found.grounding)
    others = index.search(question.text, without=lambda passage: bool(passage.sources & question.gold))
    yield _case(Kind.REMOVED, question.text, others)
    if any(passage.document in documents for passage in others):
        far = index.search(question.text, without=lambda passage: passage.document in documents)
        yield _case(Kind.ELSEWHERE, question.text, far)


def _case(kind: Kind, question: str, passages: Sequence[Passage], gold: frozenset[str] = frozenset()) -> Case:
    numbered = tuple(GroundingPassage(n, one.text, one.title, one.heading_path) for n, one in enumerate(passages, 1))
    held = frozenset(n for n, one in enumerate(passages, 1) if one.sources & gold)
    return Case(kind, Grounding(question, numbered), held)


@lru_cache(maxsize=REMEMBERED)
def _read(text: str) -> TokenVectors:
    return embedding.token_vectors([text])[0]


def _encode(texts: Sequence[str]) -> list[TokenVectors]:
    return [_read(text) for text in texts]
