"""From measures of answerable and unanswerable questions to weights and a threshold."""

import numpy as np
from numpy.typing import NDArray

from llm.providers.local.calibration.cases import Kind, Outcome
from llm.providers.local.extractive.answerability import MEASURES, AnswerabilityModel

# How much a case of a kind counts. The near ones are the hardest and the fewest, the far ones the easiest.
WEIGHTS = {Kind.FOUND: 1.0, Kind.NEAR: 1.0, Kind.REMOVED: 0.7, Kind.ELSEWHERE: 0.4}
UNANSWERABLE = (Kind.NEAR, Kind.REMOVED)
ALLOWED = 0.1
ROUNDS = 50

Doubles = NDArray[np.float64]


def fit(outcomes: list[Outcome]) -> AnswerabilityModel:
    """Logistic regression with a quadratic penalty of 1 on standardised measures, by Newton's method.

    The threshold is the lowest at which no more than ALLOWED of the unanswerable questions are answered, the mean of
    the shares of near questions and of those whose source was removed. Questions whose passage was missed are left out.
    """
    used = [one for one in outcomes if one.case.kind in WEIGHTS]
    values = np.array([[one.measures[name] for name in MEASURES] for one in used])
    truth = np.array([float(one.case.kind is Kind.FOUND) for one in used])
    counts = np.array([WEIGHTS[one.case.kind] for one in used])
    means, scales = values.mean(axis=0), values.std(axis=0) + 1e-9
    bias, *weights = _newton((values - means) / scales, truth, counts)
    raw = weights / scales
    named = {name: round(float(weight), 4) for name, weight in zip(MEASURES, raw, strict=True)}
    model = AnswerabilityModel(round(float(bias - raw @ means), 4), named, threshold=0.0)
    return AnswerabilityModel(model.bias, model.weights, _threshold(model, used))


def _newton(values: Doubles, truth: Doubles, counts: Doubles) -> Doubles:
    given = np.column_stack([np.ones(len(values)), values])
    penalty = np.diag([0.0, *np.ones(values.shape[1])])
    solution = np.zeros(given.shape[1])
    for _ in range(ROUNDS):
        chances = 1 / (1 + np.exp(-given @ solution))
        slope = given.T @ (counts * (chances - truth)) + penalty @ solution
        curve = (given.T * (counts * chances * (1 - chances))) @ given + penalty
        solution = solution - np.linalg.solve(curve, slope)
    return solution


def _threshold(model: AnswerabilityModel, outcomes: list[Outcome]) -> float:
    chances = {kind: [model.chance(one.measures) for one in outcomes if one.case.kind is kind] for kind in UNANSWERABLE}
    for threshold in np.arange(0.05, 1.0, 0.01):
        shares = [np.mean([chance >= threshold for chance in chances[kind]]) for kind in UNANSWERABLE]
        if np.mean(shares) <= ALLOWED:
            return round(float(threshold), 2)
    raise ValueError("No threshold keeps the unanswerable questions unanswered.")
