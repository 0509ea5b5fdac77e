"""Do the passages hold an answer? A logistic model over four measures of the evidence.

Weights and threshold stand in `llm/providers/local/calibration/model.json`, which `manage.py calibrate_extractive`
writes; docs/extractive.md has the method and the figures.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from llm.providers.local.extractive.evidence import Evidence

MODEL = Path(__file__).parent.parent / "calibration" / "model.json"
MEASURES = ("fit", "soft", "least", "closest")


@dataclass(frozen=True)
class AnswerabilityModel:
    """weights: one a measure. threshold: the least chance, 0 to 1, at which an answer is given."""

    bias: float
    weights: dict[str, float]
    threshold: float

    def chance(self, values: dict[str, float]) -> float:
        """The estimated chance, 0 to 1, that sentences with these measures answer the question."""
        return 1 / (1 + math.exp(-self.bias - sum(self.weights[name] * values[name] for name in MEASURES)))


def measures(evidence: Evidence) -> dict[str, float]:
    """What the estimate is made of, by name.

    fit: likeness of the best sentence. soft, least: of the passage whose words come nearest to the question's.
    closest: see Evidence.
    """
    if not evidence.findings:
        return dict.fromkeys(MEASURES, 0.0)
    reading = max(evidence.readings, key=lambda one: one.soft)
    return {
        "fit": max(finding.likeness for finding in evidence.findings),
        "soft": reading.soft,
        "least": reading.least,
        "closest": evidence.closest,
    }


def is_answerable(evidence: Evidence) -> bool:
    """Whether the evidence is good enough to answer from."""
    model = calibrated()
    return bool(evidence.findings) and model.chance(measures(evidence)) >= model.threshold


@lru_cache(maxsize=1)
def calibrated() -> AnswerabilityModel:
    """The shipped model; ValueError when it was made for other measures."""
    stored = json.loads(MODEL.read_text(encoding="utf-8"))
    if set(stored["weights"]) != set(MEASURES):
        raise ValueError(f"{MODEL.name} is for other measures. Run manage.py calibrate_extractive.")
    return AnswerabilityModel(stored["bias"], stored["weights"], stored["threshold"])
