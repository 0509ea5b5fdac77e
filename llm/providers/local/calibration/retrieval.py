"""Search in memory, as the platform searches by default: vectors and BM25, each scaled to 0 to 1, half and half."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from llm.providers.local import embedding
from llm.providers.local.calibration.sets import Passage
from llm.providers.local.extractive.questions import stem
from plugins.contracts import Vectors

TOP = 5
K1, B = 1.5, 0.75
WORD = re.compile(r"[^\W_]+")


class Index:
    """The passages with their vectors and terms."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self.vectors, _ = embedding.embed([passage.full_text for passage in passages])
        counts = [Counter(_terms(passage.full_text)) for passage in passages]
        self.lengths = np.array([sum(count.values()) for count in counts], dtype=np.float64)
        self.postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for place, count in enumerate(counts):
            for term, times in count.items():
                self.postings[term].append((place, times))

    def search(self, question: str, *, without: Callable[[Passage], bool] | None = None) -> list[Passage]:
        """The best passages for the question, best first; those that `without` names are taken as not there."""
        kept = [i for i, passage in enumerate(self.passages) if without is None or not without(passage)]
        vector = embedding.embed([question])[0][0]
        scores = 0.5 * _scaled((self.vectors @ vector)[kept]) + 0.5 * _scaled(self._bm25(question)[kept])
        return [self.passages[kept[i]] for i in np.argsort(-scores, kind="stable")[:TOP]]

    def _bm25(self, question: str) -> Vectors:
        scores = np.zeros(len(self.passages), dtype=np.float32)
        norms = K1 * (1 - B + B * self.lengths / self.lengths.mean())
        for term in _terms(question):
            found = self.postings.get(term, [])
            rarity = math.log(1 + (len(scores) - len(found) + 0.5) / (len(found) + 0.5))
            for place, times in found:
                scores[place] += rarity * (K1 + 1) * times / (times + norms[place])
        return scores


def _terms(text: str) -> list[str]:
    return [stem(word) for word in WORD.findall(text)]


def _scaled(scores: Vectors) -> Vectors:
    scaled: Vectors = (scores - scores.min()) / (np.ptp(scores) + 1e-9)
    return scaled
