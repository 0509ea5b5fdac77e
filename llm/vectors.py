"""Vectors as they come from a provider: put in order, checked, scaled."""

from collections.abc import Sequence

import numpy as np

from core.exceptions import UpstreamError
from llm.batches import Batch
from llm.models import Model
from plugins.contracts import EmbeddingResponse, Vectors

SHORTEST = 1e-9


def assemble(answers: Sequence[tuple[Batch, EmbeddingResponse]], model: Model) -> Vectors:
    """Unit vectors in the caller's order, shape (texts, dimensions).

    Raises UpstreamError for a vector of another size than the model's, with NaN, or of length zero.
    """
    count = sum(len(batch.positions) for batch, _ in answers)
    size = model.dimensions or (answers[0][1].vectors.shape[1] if answers else 0)
    vectors = np.zeros((count, size), dtype=np.float32)
    for batch, answer in answers:
        got = answer.vectors.shape[1]
        if got != size:
            raise UpstreamError(
                f"The model '{model.slug}' sent vectors of {got} dimensions; {size} are expected.",
                hint="Correct the model's dimensions, or its identifier.",
            )
        vectors[list(batch.positions)] = answer.vectors
    return _unit(vectors, model)


def _unit(vectors: Vectors, model: Model) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1)
    bad = int((~np.isfinite(lengths) | (lengths < SHORTEST)).sum())
    if bad:
        raise UpstreamError(
            f"The model '{model.slug}' sent {bad} of {len(vectors)} vectors that are zero or hold no numbers."
        )
    unit: Vectors = (vectors / lengths[:, None]).astype(np.float32)
    return unit
