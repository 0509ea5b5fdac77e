"""Writes of sources and documents. What a worker does with a document is `ingesting.py`."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from core.access import Permission, Principal
from core.exceptions import Conflict, InvalidInput, UnsupportedMediaType
from core.queue import Queue
from core.versions import save_version
from knowledge import storage
from knowledge.choices import DocumentStatus
from knowledge.indexing import remove_passages
from knowledge.ingestion.media_types import UnsupportedType, detect
from knowledge.ingestion.pipeline import fingerprint
from knowledge.models import Document, EmbeddingIndex, KnowledgeSource
from knowledge.retrieval.tables import drop_partitions
from knowledge.schemas import Chunking
from llm.choices import ModelKind
from llm.models import Model
from llm.selectors import default_model
from observability.choices import JobStatus
from observability.models import Job
from observability.services import job_create, job_retry
from plugins.contracts import ParseError

INGEST_JOB = "ingest_document"
INGEST_TASK = "knowledge.tasks.ingest_document"
FROZEN = ("embedding_model", "chunking")
PLAIN_TEXT = "text/plain"


@dataclass(frozen=True)
class Upload:
    """A file or a text on its way in. external_id: stable in its source; the file's name when left out."""

    content: BinaryIO | str
    filename: str = ""
    title: str = ""
    external_id: str = ""
    url: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def blocks(self) -> Iterator[bytes]:
        if isinstance(self.content, str):
            return iter((self.content.encode("utf-8", "replace"),))
        return storage.blocks_of(self.content)


@transaction.atomic
def source_create(*, principal: Principal, values: Mapping[str, Any]) -> KnowledgeSource:
    """A new source with its empty index. The default embedding model fills in when none is named."""
    principal.require(Permission.MANAGE)
    filled = dict(values)
    if filled.get("embedding_model") is None:
        filled["embedding_model"] = default_model(principal.workspace_id, ModelKind.EMBEDDING)
    source = KnowledgeSource(workspace_id=principal.workspace_id, **filled)
    _check_model(source.embedding_model)
    source.full_clean()
    source.save()
    index_point(source)
    return source


@transaction.atomic
def source_update(
    source: KnowledgeSource, *, principal: Principal, values: Mapping[str, Any], expected: int | None = None
) -> KnowledgeSource:
    """Change a source. Model and chunking are fixed once there are documents (Conflict)."""
    principal.require(Permission.MANAGE)
    frozen = [name for name in FROZEN if name in values and values[name] != getattr(source, name)]
    if frozen and source.documents.exists():
        raise Conflict(
            f"{frozen[0].replace('_', ' ').capitalize()} cannot change while the source holds documents.",
            hint="Make a new source with the other settings and add the documents there.",
        )
    for name, value in values.items():
        setattr(source, name, value)
    _check_model(source.embedding_model)
    saved = save_version(source, expected=expected, fields=list(values))
    if frozen:
        index_point(saved)
    return saved


def _check_model(model: Model) -> None:
    if model.kind != ModelKind.EMBEDDING:
        raise InvalidInput(f"'{model.slug}' is no embedding model.")


def index_point(source: KnowledgeSource) -> EmbeddingIndex:
    """Make the index of the source's present settings, and let searches use it."""
    model, chunking = source.embedding_model, Chunking.model_validate(source.chunking)
    index: EmbeddingIndex
    index, _ = EmbeddingIndex._unscoped.get_or_create(
        source=source,
        fingerprint=fingerprint(model, chunking),
        defaults={"workspace_id": source.workspace_id, "model": model},
    )
    source.active_index = index
    source.save(update_fields=["active_index"])
    return index


@transaction.atomic
def source_delete(source: KnowledgeSource, *, principal: Principal) -> None:
    """Delete a source with its documents, passages and files. One that a retrieval tool searches is protected."""
    principal.require(Permission.MANAGE)
    keys = list(source.documents.values_list("storage_key", flat=True))
    indexes = list(source.indexes.values_list("pk", flat=True))
    source.active_index = None
    source.save(update_fields=["active_index"])
    source.delete()
    for index_id in indexes:
        drop_partitions(index_id)
    transaction.on_commit(partial(storage.remove_all, keys))


def document_upload(*, principal: Principal, source: KnowledgeSource, upload: Upload) -> tuple[Document, Job | None]:
    """Take a file or text in: store it, save document and job, enqueue on commit.

    A document with the same external id is replaced; its present passages answer until the new ones are ready. The same
    content again is no new work (no job). Raises InvalidInput (empty), PayloadTooLarge, UnsupportedMediaType; nothing
    is stored then.
    """
    principal.require(Permission.INGEST)
    stored = storage.store(upload.blocks())
    try:
        media_type = PLAIN_TEXT if isinstance(upload.content, str) else _media_type(stored, upload.filename)
        with transaction.atomic():
            document, job, replaced = _save(principal, source, upload, stored, media_type)
    except BaseException:
        storage.remove(stored.key)
        raise
    if replaced:
        storage.remove(replaced)
    return document, job


def _media_type(stored: storage.StoredFile, filename: str) -> str:
    """The type by content. What cannot be read, but is of a known type, is accepted and fails with its reason."""
    try:
        return detect(stored.path, filename)
    except UnsupportedType as unsupported:
        raise UnsupportedMediaType(str(unsupported)) from None
    except ParseError as error:
        return f"application/x-{error.code.replace('_', '-')}"


def _save(
    principal: Principal, source: KnowledgeSource, upload: Upload, stored: storage.StoredFile, media_type: str
) -> tuple[Document, Job | None, str]:
    """Insert or replace the document; returns the storage key that nobody needs any longer."""
    external_id = (upload.external_id or upload.filename or f"text-{uuid.uuid4().hex}")[:500]
    rows = Document.objects.for_workspace(source.workspace_id).select_for_update()
    document = rows.filter(source=source, external_id=external_id).first()
    unchanged = document is not None and _is_current(document, source, stored, upload)
    if document is not None and unchanged:
        return document, None, stored.key
    replaced = document.storage_key if document is not None else ""
    if document is None:
        document = Document(workspace_id=source.workspace_id, source=source, external_id=external_id)
    _fill(document, upload, stored, media_type)
    document.full_clean()
    document.save()
    job = _enqueue(document, principal.user)
    return document, job, replaced


def _is_current(document: Document, source: KnowledgeSource, stored: storage.StoredFile, upload: Upload) -> bool:
    same_text = document.checksum == stored.checksum and document.metadata == dict(upload.metadata)
    same_title = not upload.title or document.title == upload.title
    index = source.active_index
    indexed = index is not None and document.indexed_as == f"{stored.checksum}:{index.fingerprint}"
    return same_text and same_title and indexed and document.status == DocumentStatus.READY


def _fill(document: Document, upload: Upload, stored: storage.StoredFile, media_type: str) -> None:
    filename = PurePosixPath(upload.filename.replace("\\", "/")).name.replace("\x00", "")[:255]
    document.filename = filename
    document.title = (upload.title or PurePosixPath(filename).stem or document.external_id)[:500]
    document.title_given = bool(upload.title)
    document.url = upload.url
    document.media_type, document.size = media_type, stored.size
    document.checksum, document.storage_key = stored.checksum, stored.key
    document.metadata = dict(upload.metadata)
    _wait_again(document)


def _wait_again(document: Document) -> None:
    """Back to the start; a worker that still holds an older version finds its job gone."""
    if document.status in {DocumentStatus.READY, DocumentStatus.FAILED} or document.status == DocumentStatus.PROCESSING:
        document.move_to(DocumentStatus.PENDING)
    document.reason = document.reason_code = ""
    document.attempts = 0


def _enqueue(document: Document, actor: Any) -> Job:
    """A new job for the document, instead of any that is still open."""
    open_jobs = Job.objects.for_workspace(document.workspace_id).filter(subject_id=document.pk, kind=INGEST_JOB)
    for job in open_jobs.select_for_update().filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING]):
        job.move_to(JobStatus.CANCELLED)
        job.reason_code, job.reason = "superseded", "A newer version of the document came in."
        job.finished_at, job.lease_expires_at = timezone.now(), None
        job.save()
    return job_create(
        workspace_id=document.workspace_id,
        kind=INGEST_JOB,
        task=INGEST_TASK,
        queue=Queue.INGEST,
        title=f"Ingest {document.title}",
        subject_id=document.pk,
        actor=actor,
        unit="passages",
    )


@transaction.atomic
def document_retry(document: Document, *, principal: Principal) -> tuple[Document, Job]:
    """Try a failed document again. Raises Conflict for any other."""
    principal.require(Permission.INGEST)
    locked: Document = Document._unscoped.select_for_update().get(pk=document.pk)
    if locked.status != DocumentStatus.FAILED:
        raise Conflict(f"This document is {locked.status}; only a failed one can be retried.")
    jobs = Job.objects.for_workspace(locked.workspace_id).filter(subject_id=locked.pk, kind=INGEST_JOB)
    job = jobs.filter(status__in=[JobStatus.FAILED, JobStatus.CANCELLED]).order_by("-id").first()
    if job is not None:
        job = job_retry(job, principal=principal)
        locked.refresh_from_db()
        return locked, job
    _wait_again(locked)
    locked.save()
    return locked, _enqueue(locked, principal.user)


@transaction.atomic
def document_delete(document: Document, *, principal: Principal) -> None:
    """Delete a document with its passages, vectors and file; from the commit on it answers nothing."""
    principal.require(Permission.INGEST)
    locked: Document = Document._unscoped.select_for_update().get(pk=document.pk)
    remove_passages(locked)
    key = locked.storage_key
    locked.delete()
    transaction.on_commit(lambda: storage.remove(key))


def on_job_failed(job: Job) -> None:
    """The document of a job that failed or was cancelled says why."""
    document = Document._unscoped.select_for_update().filter(pk=job.subject_id).first()
    if document is not None and document.status in {DocumentStatus.PENDING, DocumentStatus.PROCESSING}:
        document.move_to(DocumentStatus.FAILED)
        document.reason_code, document.reason, document.attempts = job.reason_code, job.reason, job.attempts
        document.save(update_fields=["status", "reason_code", "reason", "attempts", "updated_at"])


def on_job_retried(job: Job) -> None:
    """The document of a job that starts anew waits again."""
    document = Document._unscoped.select_for_update().filter(pk=job.subject_id).first()
    if document is not None:
        _wait_again(document)
        document.save()
