"""Background work of knowledge sources. Arguments are ids of jobs; the job row says the rest."""

import uuid

from celery import shared_task

from knowledge import ingesting, maintenance


@shared_task(name="knowledge.tasks.ingest_document")
def ingest_document(job_id: str) -> None:
    """Parse, cut, embed and index a document."""
    ingesting.document_ingest(uuid.UUID(job_id))


@shared_task(name="knowledge.tasks.build_vector_index")
def build_vector_index(job_id: str) -> None:
    """Build the approximate index of a large embedding index."""
    maintenance.build_vector_index(uuid.UUID(job_id))


@shared_task(name="knowledge.tasks.reweigh_index")
def reweigh_index(job_id: str) -> None:
    """Open the next epoch of an index's BM25 weights."""
    maintenance.reweigh_index(uuid.UUID(job_id))
