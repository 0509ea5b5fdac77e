"""What a question asks for: its telling words, how rare they are, and the kind of thing that would answer it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import snowballstemmer

from llm.providers.local.embedding import TokenVectors, unit
from llm.providers.local.extractive.units import WORD
from plugins.contracts import Vectors

EMPTY_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being between both but by can could did do
    does doing during each few for from further get had has have having he her here him his how i if in into is it its
    just let make many may me might more most much must my need no nor not of off on once one only or other our out over
    own please same shall she should so some such take tell than that the their them then there these they this those
    through to too under until up use used using very want was way ways we were what when where which while who whom
    whose why will with within would you your according happen happens mean means
    """.split()  # noqa: SIM905  # a list of a hundred quoted words reads worse
)
# The vocabulary of the tokenizer is ordered by how often words occur in English; below 1996 stand marks and letters.
FIRST_WORD, COMMON = 1996, 2000
NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|once|twice|half|quarter|third|twelfth|"
    r"none|no|free|unlimited|daily|weekly|monthly|yearly|every|each)\b",
    re.IGNORECASE,
)
TIME = re.compile(
    r"\d|\b(?:january|february|march|april|may|june|july|august|september|october|november|december|monday|tuesday|"
    r"wednesday|thursday|friday|saturday|sunday|days?|weeks?|weekly|months?|monthly|years?|hours?|minutes?|quarters?|"
    r"noon|midnight|immediately|at once|straight away|before|after|until|as soon as|when|if|spring|summer|autumn|"
    r"winter|first|last|whenever)\b",
    re.IGNORECASE,
)
PERSON = re.compile(
    r"(?<!^)\b[A-Z][\w-]+|\b(?:everybody|everyone|anyone|anybody|nobody|people|person|team|manager|office|department|"
    r"desk|officer|lead|director|board|committee|group|staff|member|employee|customer|user|parent|supervisor|"
    r"controller|caretaker|patient|owner|company|dealer|service|council|assembly)s?\b"
)
KINDS = (
    (
        re.compile(
            r"\bhow (?:many|much|long|old|often|far|high|large|big|heavy|wide|deep|fast|quickly|strongly|soon)\b"
            r"|\bhow frequently\b|\b(?:percentage|number of|amount|at most|at least|maximum|minimum)\b",
            re.IGNORECASE,
        ),
        NUMBER,
    ),
    (
        re.compile(
            r"\bwhen\b|\b(?:what|which|on what|until what) (?:time|date|day|year|month|weekday)\b", re.IGNORECASE
        ),
        TIME,
    ),
    (re.compile(r"^\W*(?:\w+ )?\b(?:who|whom|whose)\b", re.IGNORECASE), PERSON),
)


@dataclass(frozen=True)
class Question:
    """A question, ready to be compared.

    terms: stems of its telling words. weights: how much each tells, rarer ones more; shape (terms,), sum 1.
    term_vectors: shape (terms, 384). pieces: vectors of all its word pieces. vector: the whole. Rows have length 1.
    wanted: pattern of the kind of thing that would answer it, None when any may.
    """

    text: str
    terms: tuple[str, ...]
    weights: Vectors
    term_vectors: Vectors
    pieces: Vectors
    vector: Vectors
    wanted: re.Pattern[str] | None


@lru_cache(maxsize=1)
def _stemmer() -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """The stem that words of one family share."""
    stemmed: str = _stemmer().stemWord(word.lower().replace("’", "'"))
    return stemmed


def stems(text: str) -> frozenset[str]:
    """Stems of all words of the text."""
    return frozenset(stem(word) for word in WORD.findall(text))


def understand(text: str, read: TokenVectors) -> Question | None:
    """The question with its vectors; None for a text without words."""
    if not len(read.vectors):
        return None
    found = [
        (stem(word), _rarity([read.ids[i] for i in places]), unit(read.vectors[places].mean(axis=0)))
        for word, places in _telling_words(text, read)
    ]
    terms = found or [(text.lower(), 1.0, read.whole)]
    weights = np.array([weight for _, weight, _ in terms], dtype=np.float32)
    return Question(
        text=text,
        terms=tuple(term for term, _, _ in terms),
        weights=weights / weights.sum(),
        term_vectors=np.stack([one for _, _, one in terms]),
        pieces=read.vectors,
        vector=read.whole,
        wanted=_wanted(text),
    )


def _telling_words(text: str, read: TokenVectors) -> list[tuple[str, list[int]]]:
    words = []
    for match in WORD.finditer(text):
        word = match[0]
        places = [i for i, (start, end) in enumerate(read.spans) if start < match.end() and end > match.start()]
        is_letter = len(word) == 1 and not word.isdigit()
        if places and not is_letter and word.lower() not in EMPTY_WORDS:
            words.append((word, places))
    return words


def _rarity(ids: Sequence[int]) -> float:
    """0.15 for the commonest words, 1.15 for those of one piece at the vocabulary's end and for words of several."""
    if len(ids) > 1:
        return 1.15
    if ids[0] < FIRST_WORD:
        return 0.75
    return 0.15 + math.log(ids[0] / COMMON + 1) / math.log(16)


def _wanted(text: str) -> re.Pattern[str] | None:
    return next((wanted for asked, wanted in KINDS if asked.search(text)), None)
