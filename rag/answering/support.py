"""Does a passage support a sentence? The measure behind `verified` and `unsupported`.

The measure is the share of the sentence's content words (stems, numbers exact) that the quoted span holds, weighted
by word length up to 8 letters, so that names and terms count more than short words. A number in the sentence that
the quote lacks makes the support 0: a wrong figure with the right words is the worst citation. Lexical overlap of
this kind is the classical recall form of ROUGE-1 (Lin, 2004); it is strict for paraphrases, which is the safe side.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import snowballstemmer

from core.sentences import split_sentences

SUPPORTED = 0.5
WORD = re.compile(r"[^\W_]+(?:[.,'’][^\W_]+)*", re.UNICODE)
STOPWORDS = frozenset(
    """
    a an and are as at be been but by can could did do does for from had has have he her his how i if in into is
    it its may me might more most my no nor not of on one only or our out over own shall she should so some such
    than that the their them then there these they this those to too under up upon very was we were what when
    where which who whom why will with within would you your also any all each every per about
    """.split()  # noqa: SIM905  # a list of a hundred quoted words reads worse
)


@dataclass(frozen=True)
class Span:
    """A part of a text in code points, end exclusive, with how well it supports a sentence (0 to 1)."""

    start: int
    end: int
    support: float


@lru_cache(maxsize=1)
def _stemmer() -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=4096)
def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning; numbers as they stand, without thousands separators."""
    words = (word.lower() for word in WORD.findall(text))
    kept = [word for word in words if word not in STOPWORDS]
    numbers = {re.sub(r"(?<=\d),(?=\d{3})", "", word) for word in kept if word[0].isdigit()}
    stems = _stemmer().stemWords([word for word in kept if not word[0].isdigit()])
    return frozenset(stems) | numbers


def support(sentence: str, quote: str) -> float:
    """How much of the sentence the quote holds, 0 to 1."""
    wanted = content_words(sentence)
    if not wanted:
        return 0.0
    held = content_words(quote)
    if any(word[0].isdigit() and word not in held for word in wanted):
        return 0.0
    return sum(_weight(word) for word in wanted & held) / sum(_weight(word) for word in wanted)


def _weight(word: str) -> int:
    return min(len(word), 8)


def best_span(sentence: str, passage: str) -> Span:
    """The sentence of the passage, or two neighbouring ones, that supports the given sentence best."""
    bounds = split_sentences(passage) or [(0, len(passage))]
    windows = [*bounds, *((a[0], b[1]) for a, b in pairwise(bounds))]
    spans = [Span(start, end, support(sentence, passage[start:end])) for start, end in windows]
    return max(spans, key=lambda span: (round(span.support, 3), span.start - span.end))
