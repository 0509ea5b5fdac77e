"""Writes of sources and documents. What a worker does with a document is `ingesting.py`."""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.access import Permission, Principal
from core.audit import delete_row, save_new
from core.exceptions import Conflict, InvalidInput, NotFound, UnsupportedMediaType
from core.faults import fault
from core.queue import Queue
from core.versions import save_version
from knowledge import storage
from knowledge.choices import DocumentStatus
from knowledge.indexing import remove_passages
from knowledge.ingestion.media_types import UnsupportedType, detect
from knowledge.ingestion.pipeline import fingerprint
from knowledge.models import Document, EmbeddingIndex, KnowledgeSource
from knowledge.quota import require_quota
from knowledge.retrieval.tables import drop_partitions
from knowledge.schemas import Chunking, storable
from llm.choices import ModelKind
from llm.selectors import default_model
from observability.choices import JobStatus
from observability.models import Job
from observability.services import job_create, job_retry
from plugins.contracts import ParseError
from plugins.registry import PLUGINS

INGEST_JOB = "ingest_document"
INGEST_TASK = "knowledge.tasks.ingest_document"
FROZEN = ("embedding_model", "chunking")
PLAIN_TEXT = "text/plain"
MAX_EXTERNAL_ID = 500


@dataclass(frozen=True)
class Upload:
    """A file (open, able to go back) or a text on its way in. external_id: stable in its source; the file's name when
    left out."""

    content: BinaryIO | str
    filename: str = ""
    title: str = ""
    external_id: str = ""
    url: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def blocks(self) -> Iterator[bytes]:
        if isinstance(self.content, str):
            return iter((self.content.encode("utf-8", "replace"),))
        self.content.seek(0)
        return storage.blocks_of(self.content)

    def identity(self) -> str:
        """The external id; a file name that is too long for one is shortened so that it stays its own."""
        if self.external_id:
            if len(self.external_id) > MAX_EXTERNAL_ID or storable(self.external_id) != self.external_id:
                raise InvalidInput(f"An external id has at most {MAX_EXTERNAL_ID} characters, and no NUL.")
            return self.external_id
        name = storable(self.filename)
        if len(name) > MAX_EXTERNAL_ID:
            return f"{name[: MAX_EXTERNAL_ID - 65]} {hashlib.sha256(name.encode()).hexdigest()}"
        return name or f"text-{uuid.uuid4().hex}"


@transaction.atomic
def source_create(*, principal: Principal, values: Mapping[str, Any]) -> KnowledgeSource:
    """A new source with its empty index. The default embedding model fills in when none is named."""
    principal.require(Permission.MANAGE)
    filled = dict(values)
    if filled.get("embedding_model") is None:
        filled["embedding_model"] = default_model(principal.workspace_id, ModelKind.EMBEDDING)
    source = KnowledgeSource(workspace_id=principal.workspace_id, **filled)
    source.full_clean()
    _check(source)
    save_new(source)
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
    _check(source)
    saved = save_version(source, expected=expected, fields=list(values))
    if frozen:
        index_point(saved)
    return saved


def _check(source: KnowledgeSource) -> None:
    model, chunker = source.embedding_model, Chunking.model_validate(source.chunking).chunker
    if model.kind != ModelKind.EMBEDDING:
        raise InvalidInput(f"'{model.slug}' is no embedding model.")
    if chunker not in PLUGINS.chunkers:
        raise InvalidInput(f"There is no chunker '{chunker}'. Known: {', '.join(PLUGINS.chunkers.names())}.")


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
    _close_jobs(source.workspace_id, source.documents.values("pk"), "deleted", "The source was deleted.")
    keys = list(source.documents.values_list("storage_key", flat=True))
    indexes = list(source.indexes.values_list("pk", flat=True))
    source.active_index = None
    source.save(update_fields=["active_index"])
    delete_row(source)
    # Dropping a table waits for everybody who reads it: not while this transaction holds rows that they want.
    for index_id in indexes:
        transaction.on_commit(partial(drop_partitions, index_id))
    transaction.on_commit(partial(storage.remove_all, keys))


def document_upload(*, principal: Principal, source: KnowledgeSource, upload: Upload) -> tuple[Document, Job | None]:
    """Take a file or text in: store it, save document and job, enqueue on commit.

    A document with the same external id is replaced; its present passages answer until the new ones are ready. The same
    content again is no new work: the job is the one that is under way, or None. Raises InvalidInput (empty),
    PayloadTooLarge, UnsupportedMediaType, QuotaExceeded; nothing is stored then.
    """
    principal.require(Permission.INGEST)
    external_id = upload.identity()
    present = _present(source, external_id, upload)
    if present is not None:
        return present, _open_jobs(source.workspace_id, [present.pk]).first()
    require_quota(source.workspace_id, arriving=0 if _exists(source, external_id) else 1)
    stored = storage.store(upload.blocks())
    fault("upload.file_stored")
    with ExitStack() as unless_saved:
        unless_saved.callback(storage.remove, stored.key)
        media_type = PLAIN_TEXT if isinstance(upload.content, str) else _media_type(stored, upload.filename)
        arrived = _Arrived(upload, stored, external_id, media_type)
        try:
            saved = _save(principal, source, arrived)
        except IntegrityError:  # the same new external id came in twice at once: the other one is there now
            saved = _save(principal, source, arrived)
        unless_saved.pop_all()
    return saved


@dataclass(frozen=True)
class _Arrived:
    """An upload whose file is stored."""

    upload: Upload
    stored: storage.StoredFile
    external_id: str
    media_type: str


def _present(source: KnowledgeSource, external_id: str, upload: Upload) -> Document | None:
    """The document that has this content already, ready or on its way. Reads the upload, writes nothing."""
    documents = Document.objects.for_workspace(source.workspace_id).select_related("source__active_index")
    document: Document | None = documents.filter(source=source, external_id=external_id).first()
    if document is None or document.status == DocumentStatus.FAILED:
        return None
    alike = (
        document.metadata == dict(upload.metadata)
        and document.url == upload.url
        and upload.title in {"", document.title}
        and document.checksum == storage.checksum(upload.blocks())
    )
    index = document.source.active_index
    current = index is not None and document.indexed_as == document.work_key(index)
    return document if alike and (current or document.status != DocumentStatus.READY) else None


def _exists(source: KnowledgeSource, external_id: str) -> bool:
    found: bool = source.documents.filter(external_id=external_id).exists()
    return found


def _media_type(stored: storage.StoredFile, filename: str) -> str:
    """The type by content. What cannot be read, but is of a known type, is accepted and fails with its reason."""
    try:
        return detect(stored.path, filename)
    except UnsupportedType as unsupported:
        raise UnsupportedMediaType(str(unsupported)) from None
    except ParseError as error:
        return f"application/x-{error.code.replace('_', '-')}"


@transaction.atomic
def _save(principal: Principal, source: KnowledgeSource, arrived: _Arrived) -> tuple[Document, Job]:
    """Insert or replace the document. Jobs are locked before their document, as workers do."""
    rows = Document.objects.for_workspace(source.workspace_id).filter(source=source, external_id=arrived.external_id)
    _close_jobs(source.workspace_id, rows.values("pk"), "superseded", "A newer version of the document came in.")
    document: Document | None = rows.select_for_update().first()
    if document is None:
        document = Document(workspace_id=source.workspace_id, source=source, external_id=arrived.external_id)
    elif document.storage_key:
        transaction.on_commit(partial(storage.remove, document.storage_key))
    _fill(document, arrived)
    document.full_clean(validate_unique=False, validate_constraints=False)
    document.save()
    require_quota(document.workspace_id)
    job = _enqueue(document, principal)
    fault("upload.row_saved")
    return document, job


def _fill(document: Document, arrived: _Arrived) -> None:
    upload, stored = arrived.upload, arrived.stored
    filename = storable(PurePosixPath(upload.filename.replace("\\", "/")).name)[:255]
    document.filename = filename
    document.title = storable(upload.title or PurePosixPath(filename).stem or document.external_id)[:500]
    document.title_given = bool(upload.title)
    document.url = upload.url
    document.media_type, document.size = arrived.media_type, stored.size
    document.checksum, document.storage_key = stored.checksum, stored.key
    document.metadata = dict(upload.metadata)
    _wait_again(document)


def _wait_again(document: Document) -> None:
    """Back to the start; a worker that still holds an older version finds its job closed."""
    if document.status != DocumentStatus.PENDING:
        document.move_to(DocumentStatus.PENDING)
    document.reason = document.reason_code = ""
    document.attempts = 0


def _open_jobs(workspace_id: uuid.UUID, documents: Any) -> QuerySet[Job]:
    jobs = Job.objects.for_workspace(workspace_id).filter(subject_id__in=documents, kind=INGEST_JOB)
    return jobs.filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING]).order_by("pk")


def _close_jobs(workspace_id: uuid.UUID, documents: Any, code: str, reason: str) -> None:
    """Cancel what is under way for these documents; its worker stops at its next step."""
    for job in _open_jobs(workspace_id, documents).select_for_update():
        job.move_to(JobStatus.CANCELLED)
        job.reason_code, job.reason = code, reason
        job.finished_at, job.lease_expires_at = timezone.now(), None
        job.save()


def _enqueue(document: Document, principal: Principal) -> Job:
    return job_create(
        workspace_id=document.workspace_id,
        kind=INGEST_JOB,
        task=INGEST_TASK,
        queue=Queue.INGEST,
        title=f"Ingest {document.title}",
        subject_id=document.pk,
        actor=principal.user,
        key_id=principal.key_id,
        unit="passages",
    )


@transaction.atomic
def document_retry(document: Document, *, principal: Principal) -> tuple[Document, Job]:
    """Try a failed document again. Raises Conflict for any other."""
    principal.require(Permission.INGEST)
    jobs = Job.objects.for_workspace(document.workspace_id).filter(subject_id=document.pk, kind=INGEST_JOB)
    job = jobs.select_for_update().order_by("-pk").first()
    locked = _locked(document)
    if locked.status != DocumentStatus.FAILED:
        raise Conflict(f"This document is {locked.status}; only a failed one can be retried.")
    if job is not None and job.status in {JobStatus.FAILED, JobStatus.CANCELLED}:
        started = job_retry(job, principal=principal)
        locked.refresh_from_db()
        return locked, started
    _wait_again(locked)
    locked.save()
    return locked, _enqueue(locked, principal)


@transaction.atomic
def document_delete(document: Document, *, principal: Principal) -> None:
    """Delete a document with its passages, vectors and file; from the commit on it answers nothing."""
    principal.require(Permission.INGEST)
    _close_jobs(document.workspace_id, [document.pk], "deleted", "The document was deleted.")
    locked = _locked(document)
    remove_passages(locked)
    key = locked.storage_key
    locked.delete()
    transaction.on_commit(partial(storage.remove, key))


def _locked(document: Document) -> Document:
    rows = Document.objects.for_workspace(document.workspace_id).select_for_update()
    locked: Document | None = rows.filter(pk=document.pk).first()
    if locked is None:
        raise NotFound("This document was deleted.")
    return locked


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
