"""Do the passages hold an answer? A logistic model over a handful of measures (`manage.py calibrate_extractive`)."""

import math
from collections.abc import Sequence

from llm.providers.local.extractive.features import Question, Scored

WEIGHTS = {"bias": -6.0, "similarity": 8.0, "coverage": 3.0, "margin": 1.0, "joint": 2.0}
THRESHOLD = 0.5


def measures(question: Question, ranked: Sequence[Scored]) -> dict[str, float]:
    """What the estimate is made of, by name; all between 0 and 1."""
    best = ranked[0]
    top = ranked[:5]
    mean = sum(one.score for one in ranked) / len(ranked)
    together = question.coverage(" ".join(f"{one.sentence.context} {one.sentence.text}" for one in top))
    return {
        "bias": 1.0,
        "similarity": max(one.similarity for one in top),
        "coverage": best.coverage,
        "margin": max(0.0, min(1.0, best.score - mean)),
        "joint": together,
    }


def answerability(question: Question, ranked: Sequence[Scored]) -> float:
    """The estimated chance, 0 to 1, that these sentences answer the question."""
    values = measures(question, ranked)
    return 1 / (1 + math.exp(-sum(WEIGHTS[name] * value for name, value in values.items())))
