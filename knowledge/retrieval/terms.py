"""Terms of BM25: words, without stop words, stemmed (Snowball English), as 30-bit numbers.

The numbers are hashes: a table of terms would be a place where all writers meet. In a vocabulary of 100,000 terms
about five pairs share a number, which moves no measured score.
"""

import re
import zlib
from collections import Counter
from functools import lru_cache

import snowballstemmer

WORD = re.compile(r"[^\W_]+", re.UNICODE)
MAX_WORD = 64
# The stop words of PostgreSQL's English configuration, which are Snowball's.
STOPWORDS = frozenset(
    """
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
    it its itself they them their theirs themselves what which who whom this that these those am is are was were be
    been being have has had having do does did doing a an the and but if or because as until while of at by for with
    about against between into through during before after above below to from up down in out on off over under
    again further then once here there when where why how all any both each few more most other some such no nor not
    only own same so than too very s t can will just don should now
    """.split()  # noqa: SIM905  # a list of a hundred quoted words reads worse
)


@lru_cache(maxsize=1)
def _stemmer() -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=100_000)
def _number(word: str) -> int:
    """The 30-bit number of a word's stem; never 0, because sparse vectors count from 1."""
    stem = _stemmer().stemWord(word)
    return (zlib.crc32(stem.encode()) & 0x3FFF_FFFE) + 1


def terms_of(text: str) -> Counter[int]:
    """How often each term stands in the text."""
    words = (word.lower()[:MAX_WORD] for word in WORD.findall(text))
    return Counter(_number(word) for word in words if word not in STOPWORDS)
