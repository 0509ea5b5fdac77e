"""What a worker does with a document: prepare it, embed what is new, swap its passages under the lease."""

import uuid

from django.db import transaction
from django.utils import timezone

from core.exceptions import MagnetError
from core.faults import fault
from core.queue import Queue
from knowledge.choices import DocumentStatus
from knowledge.indexing import ensure_index, needs_ann, needs_reweighing, swap, vector_text, vectors_in_index
from knowledge.ingestion.media_types import is_supported
from knowledge.ingestion.pipeline import embed_missing, parse, prepare, staged
from knowledge.models import Document, DocumentText, EmbeddingIndex, StagedVector
from knowledge.schemas import Chunking
from observability.choices import JobStatus
from observability.leases import LeasedJob, PermanentFailure, TransientFailure, run_leased
from observability.models import Job
from observability.services import job_create

ANN_JOB, ANN_TASK = "build_vector_index", "knowledge.tasks.build_vector_index"
REWEIGH_JOB, REWEIGH_TASK = "reweigh_index", "knowledge.tasks.reweigh_index"


def document_ingest(job_id: uuid.UUID) -> None:
    """Execute an ingestion job. Delivered twice, or for a document that is ready already, it changes nothing."""
    run_leased(job_id, _ingest)


def _ingest(leased: LeasedJob) -> None:
    document = Document._unscoped.filter(pk=leased.job.subject_id).first()
    if document is None:
        raise PermanentFailure("deleted", "The document was deleted before its turn.")
    index = _index_of(document)
    key = document.work_key(index)
    if document.status == DocumentStatus.READY and document.indexed_as == key:
        return
    with leased.guard():
        _begin(document, leased.job)
    if document.media_type.startswith("application/x-") and not is_supported(document.media_type):
        raise _unreadable(document)
    chunking = Chunking.model_validate(document.source.chunking)
    parsed = parse(document)
    if parsed.title and not document.title_given:
        document.title = parsed.title[:500]
    prepared = prepare(document, parsed, index.model, chunking)
    fault("ingest.parsed")
    leased.progress(0, len(prepared.passages))
    present = vectors_in_index(document, index) if index.dimensions else {}
    known = {*present, *staged(document, index)}
    try:
        embed_missing(document, index, prepared.passages, known, lambda done: _tell(leased, done))
    except MagnetError as error:
        raise TransientFailure(error.code, str(error)) from error
    vectors = {**present, **{hash_: vector_text(v) for hash_, v in staged(document, index).items()}}
    _prepare_index(document, index, vectors)
    fault("ingest.before_swap")
    with leased.guard():
        swap(document, index, prepared.passages, vectors)
        DocumentText.objects.update_or_create(document=document, defaults={"text": prepared.text})
        _mark_ready(document, key, len(prepared.passages))
        fault("ingest.in_swap")
    fault("ingest.after_swap")
    _afterwards(document, index)
    fault("ingest.before_done")


def _index_of(document: Document) -> EmbeddingIndex:
    index: EmbeddingIndex = EmbeddingIndex._unscoped.select_related("model__provider").get(
        pk=document.source.active_index_id
    )
    return index


def _begin(document: Document, job: Job) -> None:
    if document.status != DocumentStatus.PROCESSING:
        if document.status == DocumentStatus.READY:
            document.move_to(DocumentStatus.PENDING)
        document.move_to(DocumentStatus.PROCESSING)
    document.attempts = job.attempts
    document.save(update_fields=["status", "attempts", "updated_at"])


def _unreadable(document: Document) -> PermanentFailure:
    """What was found at upload and could not be read; the parser's detection says it again, in words."""
    from knowledge.ingestion.media_types import detect
    from knowledge.storage import path_of
    from plugins.contracts import ParseError

    try:
        detect(path_of(document.storage_key), document.filename)
    except ParseError as error:
        return PermanentFailure(error.code, error.reason)
    return PermanentFailure("damaged", "The file cannot be read.")


def _tell(leased: LeasedJob, done: int) -> None:
    leased.check()
    leased.progress(done)


def _prepare_index(document: Document, index: EmbeddingIndex, vectors: dict[str, str]) -> None:
    """The first vectors of an index say how large they are; all others must be the same."""
    sizes = {text.count(",") + 1 for text in vectors.values()}
    if len(sizes) > 1 or (index.dimensions and sizes != {index.dimensions}):
        StagedVector.objects.filter(document=document, index=index).delete()
        expected = index.dimensions or min(sizes)
        raise PermanentFailure(
            "wrong_dimensions",
            f"The model sent vectors of {max(sizes - {expected})} dimensions, the index holds {expected}.",
        )
    ensure_index(index, sizes.pop())


def _mark_ready(document: Document, key: str, count: int) -> None:
    document.move_to(DocumentStatus.READY)
    document.chunk_count, document.indexed_as, document.ready_at = count, key, timezone.now()
    document.reason = document.reason_code = ""
    document.save(
        update_fields=[
            "status",
            "title",
            "chunk_count",
            "indexed_as",
            "ready_at",
            "reason",
            "reason_code",
            "updated_at",
        ]
    )
    StagedVector.objects.filter(document=document).delete()


def _afterwards(document: Document, index: EmbeddingIndex) -> None:
    """Give the index what its size asks for, as jobs of their own."""
    reweighs = needs_reweighing(index)
    if reweighs:
        _index_job(document, index, REWEIGH_JOB, REWEIGH_TASK, "Weigh the words of {} anew")
    if needs_ann(index):
        _index_job(document, index, ANN_JOB, ANN_TASK, "Build the vector index of {}")


@transaction.atomic
def _index_job(document: Document, index: EmbeddingIndex, kind: str, task: str, title: str) -> None:
    """One such job at a time for an index."""
    EmbeddingIndex._unscoped.select_for_update().get(pk=index.pk)
    jobs = Job.objects.for_workspace(index.workspace_id).filter(subject_id=index.pk, kind=kind)
    if jobs.filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING]).exists():
        return
    job_create(
        workspace_id=index.workspace_id,
        kind=kind,
        task=task,
        queue=Queue.INGEST,
        title=title.format(document.source.name),
        subject_id=index.pk,
    )
