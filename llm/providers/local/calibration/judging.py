"""How good the answerer is on a set: what it answers, what it cites, how long it takes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm.providers.local.calibration.cases import Case, Kind, Outcome
from llm.providers.local.extractive.answerability import AnswerabilityModel
from llm.providers.local.extractive.answerer import compose


@dataclass(frozen=True)
class Share:
    """How many of the cases of a kind were answered, and how many of these answers cite a passage with the answer."""

    kind: Kind
    cases: int
    answered: int
    cited: int


def shares(model: AnswerabilityModel, outcomes: Sequence[Outcome]) -> Iterator[Share]:
    """A row for each kind that occurs."""
    for kind in Kind:
        of_kind = [one for one in outcomes if one.case.kind is kind]
        answered = [one for one in of_kind if model.chance(one.measures) >= model.threshold]
        if of_kind:
            yield Share(kind, len(of_kind), len(answered), sum(bool(one.cited & one.case.gold) for one in answered))


def table(rows: Sequence[Share]) -> str:
    """Markdown, as docs/extractive.md shows it."""
    lines = ["| questions | cases | answered | answered and cite the answer |", "|---|---|---|---|"]
    for row in rows:
        cited = f"{row.cited} ({row.cited / row.cases:.0%})" if row.kind is Kind.FOUND else ""
        lines.append(f"| {row.kind} | {row.cases} | {row.answered} ({row.answered / row.cases:.0%}) | {cited} |")
    return "\n".join(lines)


def latency(cases: Sequence[Case]) -> tuple[float, float]:
    """Median and 95th percentile of the seconds that an answer takes, nothing remembered; the first warms up."""
    seconds = []
    for case in cases:
        start = time.perf_counter()
        compose(case.grounding)
        seconds.append(time.perf_counter() - start)
    median, high = np.percentile(seconds[1:] or seconds, [50, 95])
    return float(median), float(high)
