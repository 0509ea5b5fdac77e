"""Durations as a sketch that can be added up: DDSketch of Masson, Rim and Lee (VLDB 2019, arXiv 1908.10693).

A duration of x ms falls into bucket ceil(log_γ x) with γ = (1 + α) / (1 - α), and is read back as 2γ^i / (γ + 1), which
is within α of x. Adding two sketches adds the counts of equal buckets and loses nothing, so hours make days and days
make quarters with the same bound. What took 1 ms or less is bucket 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

ACCURACY = 0.02  # α: a percentile is within 2 % of the duration of its rank
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
LEAST_MS = 1.0
MOST_MS = 86_400_000.0  # a day; longer calls count as one

# The bucket of a duration, for PostgreSQL: %(gamma)s is GAMMA.
BUCKET_SQL = f"ceil(ln(least(greatest(duration_ms, {LEAST_MS}), {MOST_MS})) / ln(%(gamma)s))::smallint"


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds; None without any call."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def bucket_of(milliseconds: float) -> int:
    """The bucket of a duration, as BUCKET_SQL has it."""
    return math.ceil(math.log(min(max(milliseconds, LEAST_MS), MOST_MS)) / math.log(GAMMA))


def duration_of(bucket: int) -> float:
    """Milliseconds that stand for a bucket."""
    return LEAST_MS if bucket <= 0 else 2 * GAMMA**bucket / (GAMMA + 1)


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The duration of rank floor(q (n - 1)), within ACCURACY of it; None for an empty sketch. counts: by bucket."""
    rank, seen = math.floor(q * (sum(counts.values()) - 1)), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen > rank:
            return duration_of(bucket)
    return None


def percentiles(counts: Mapping[int, int]) -> Percentiles:
    """The three that the usage page shows."""
    return Percentiles(quantile(counts, 0.5), quantile(counts, 0.95), quantile(counts, 0.99))
