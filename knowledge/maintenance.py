"""What an index needs as it grows, each as a job."""

import uuid

from core.faults import fault
from knowledge.indexing import reweigh
from knowledge.models import EmbeddingIndex
from knowledge.retrieval.tables import build_ann
from observability.leases import LeasedJob, PermanentFailure, run_leased


def build_vector_index(job_id: uuid.UUID) -> None:
    """Build HNSW on the index's partition, then let searches use it. Writers go on meanwhile."""

    def work(leased: LeasedJob) -> None:
        index = _index(leased)
        assert index.dimensions is not None
        build_ann(index.pk, index.dimensions)
        fault("index.built")
        with leased.guard():
            EmbeddingIndex._unscoped.filter(pk=index.pk).update(has_ann=True)

    run_leased(job_id, work)


def reweigh_index(job_id: uuid.UUID) -> None:
    """Compute the index's BM25 weights anew."""
    run_leased(job_id, lambda leased: reweigh(_index(leased)))


def _index(leased: LeasedJob) -> EmbeddingIndex:
    index: EmbeddingIndex | None = EmbeddingIndex._unscoped.filter(pk=leased.job.subject_id).first()
    if index is None:
        raise PermanentFailure("deleted", "The index was deleted before its turn.")
    return index
