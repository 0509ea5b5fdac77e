"""Content in: sources, documents, passages, and the indexes that searches read.

Vectors and lexical rows stand in two tables that PostgreSQL partitions by embedding index, which is beyond Django's
migrations: their SQL stands in `migrations/0002` and in `retrieval/tables.py`.
"""

import uuid
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _
from pgvector.django import HalfVectorField, SparseVectorField

from core.fields import SchemaJSONField
from core.models import ConfigurationModel, TimestampedModel, WorkspaceScopedModel
from core.states import StatefulModel, Transitions
from knowledge.choices import DocumentStatus
from knowledge.schemas import Chunking, FilterFields
from llm.models import Model


def default_chunking() -> dict[str, object]:
    return Chunking.model_validate({}).model_dump()


class KnowledgeSource(ConfigurationModel):
    """An origin of documents, with the way in which they are cut and embedded."""

    connector = models.CharField(_("connector"), max_length=50, default="files", editable=False)
    embedding_model = models.ForeignKey(
        Model,
        on_delete=models.PROTECT,
        related_name="knowledge_sources",
        verbose_name=_("embedding model"),
        help_text=_("Fixed once the source holds documents: vectors of two models are never mixed."),
    )
    chunking = SchemaJSONField(
        _("chunking"),
        schema=Chunking,
        default=default_chunking,
        help_text=_("max_tokens (50 to 2000, default 200) and overlap_tokens (default 20); fixed like the model."),
    )
    filter_fields = SchemaJSONField(
        _("filter fields"),
        schema=FilterFields,
        default=list,
        blank=True,
        help_text=_('Metadata that searches may filter by: [{"name": "department", "type": "text"}].'),
    )
    active_index = models.ForeignKey(
        "EmbeddingIndex", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )

    class Meta(ConfigurationModel.Meta):
        abstract = False
        verbose_name = _("knowledge source")


class StorageUse(WorkspaceScopedModel):
    """How many documents a workspace holds, and the bytes of their files.

    Triggers on the documents keep it, so no way in or out is forgotten; its row is locked until their transaction ends,
    so a quota holds for uploads side by side.
    """

    documents = models.BigIntegerField(default=0, db_default=0)
    bytes = models.BigIntegerField(default=0, db_default=0)

    class Meta(WorkspaceScopedModel.Meta):
        constraints = [models.UniqueConstraint(fields=["workspace"], name="knowledge_use_of_workspace")]

    def __str__(self) -> str:
        return f"{self.documents} documents, {self.bytes} bytes"


class EmbeddingIndex(WorkspaceScopedModel, TimestampedModel):
    """The vectors and lexical rows of a source for one fingerprint; the unit of switching.

    The statistics of BM25: chunk_count and term_count are kept with every document; average_terms is the mean length
    with which the stored weights were computed, until the next reweighing.
    """

    belongs_to = "source"

    source = models.ForeignKey(KnowledgeSource, on_delete=models.CASCADE, related_name="indexes")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="+")
    fingerprint = models.CharField(max_length=64)
    dimensions = models.PositiveIntegerField(null=True)
    chunk_count = models.PositiveIntegerField(default=0)
    term_count = models.PositiveBigIntegerField(default=0)
    average_terms = models.FloatField(default=0)
    has_ann = models.BooleanField(default=False, help_text=_("An approximate (HNSW) index stands on the vectors."))

    class Meta(WorkspaceScopedModel.Meta):
        constraints = [models.UniqueConstraint(fields=["source", "fingerprint"], name="knowledge_index_fingerprint")]

    def __str__(self) -> str:
        return f"{self.source} {self.fingerprint[:8]}"


class Document(StatefulModel, WorkspaceScopedModel, TimestampedModel):
    """A file or text of a source."""

    TRANSITIONS: ClassVar[Transitions] = {
        DocumentStatus.PENDING: frozenset({DocumentStatus.PROCESSING, DocumentStatus.FAILED}),
        DocumentStatus.PROCESSING: frozenset({DocumentStatus.PENDING, DocumentStatus.READY, DocumentStatus.FAILED}),
        DocumentStatus.READY: frozenset({DocumentStatus.PENDING}),
        DocumentStatus.FAILED: frozenset({DocumentStatus.PENDING}),
    }

    source = models.ForeignKey(KnowledgeSource, on_delete=models.CASCADE, related_name="documents")
    external_id = models.CharField(_("external id"), max_length=500, help_text=_("Unique in the source."))
    title = models.CharField(_("title"), max_length=500)
    title_given = models.BooleanField(default=False, editable=False)
    url = models.URLField(_("URL"), max_length=2000, blank=True)
    filename = models.CharField(_("file name"), max_length=255, blank=True)
    media_type = models.CharField(_("type"), max_length=100)
    size = models.PositiveBigIntegerField(_("size (bytes)"))
    checksum = models.CharField(max_length=64)
    storage_key = models.CharField(max_length=100, editable=False)
    status = models.CharField(
        _("status"), max_length=20, choices=DocumentStatus.choices, default=DocumentStatus.PENDING
    )
    reason_code = models.CharField(_("reason code"), max_length=50, blank=True)
    reason = models.TextField(_("reason"), blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    chunk_count = models.PositiveIntegerField(_("passages"), default=0)
    indexed_as = models.CharField(max_length=130, blank=True, editable=False)
    ready_at = models.DateTimeField(_("ready"), null=True, blank=True)

    class Meta(WorkspaceScopedModel.Meta):
        verbose_name = _("document")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["source", "external_id"], name="knowledge_document_once")]
        indexes = [
            models.Index(fields=["workspace", "status", "-id"], name="knowledge_document_by_status"),
            models.Index(fields=["source", "status"], name="knowledge_document_by_source"),
            models.Index(fields=["storage_key"], name="knowledge_document_by_file"),
        ]

    def __str__(self) -> str:
        return self.title

    def work_key(self, index: EmbeddingIndex) -> str:
        """What its passages are made from, content and pipeline. Equal keys need no new work."""
        return f"{self.checksum}:{index.fingerprint}"


class DocumentText(models.Model):
    """The text of a document, into which all offsets point; apart, so that lists do not load it."""

    document = models.OneToOneField(Document, on_delete=models.CASCADE, primary_key=True, related_name="body")
    text = models.TextField()

    def __str__(self) -> str:
        return str(self.document)


class Chunk(WorkspaceScopedModel):
    """A passage: exactly the document's text at char_start:char_end."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks")
    index = models.ForeignKey(EmbeddingIndex, on_delete=models.CASCADE, related_name="+")
    ordinal = models.PositiveIntegerField(_("number"))
    text = models.TextField(_("text"))
    heading_path = ArrayField(models.CharField(max_length=500), verbose_name=_("headings"), default=list)
    page = models.PositiveIntegerField(_("page"), null=True)
    char_start = models.PositiveIntegerField()
    char_end = models.PositiveIntegerField()
    text_hash = models.CharField(max_length=64)
    term_count = models.PositiveIntegerField(default=0)

    class Meta(WorkspaceScopedModel.Meta):
        ordering = ["document", "ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["document", "index", "ordinal"], name="knowledge_chunk_once"),
            # What the rows of both search tables refer to.
            models.UniqueConstraint(fields=["index", "id"], name="knowledge_chunk_in_index"),
        ]

    def __str__(self) -> str:
        return f"{self.document_id} {self.ordinal}"


class ChunkVector(models.Model):
    """The vector of a passage, in the partition of its index. Deleted with the passage by the database."""

    pk = models.CompositePrimaryKey("index_id", "chunk_id")
    index_id = models.UUIDField()
    chunk_id = models.UUIDField()
    embedding = HalfVectorField()

    def __str__(self) -> str:
        return str(self.chunk_id)


class LexicalRow(models.Model):
    """The terms of a passage and their BM25 weights, in the partition of its index."""

    pk = models.CompositePrimaryKey("index_id", "chunk_id")
    index_id = models.UUIDField()
    chunk_id = models.UUIDField()
    terms = ArrayField(models.IntegerField())
    weights = SparseVectorField()

    class Meta:
        db_table = "knowledge_lexical"

    def __str__(self) -> str:
        return str(self.chunk_id)


class TermStatistic(models.Model):
    """In how many passages of an index a term stands. `term` is its 30-bit hash (see retrieval/terms.py)."""

    index = models.ForeignKey(EmbeddingIndex, on_delete=models.CASCADE, related_name="+")
    term = models.IntegerField()
    document_frequency = models.IntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["index", "term"], name="knowledge_term_once")]

    def __str__(self) -> str:
        return f"{self.term}: {self.document_frequency}"


class StagedVector(models.Model):
    """A vector that is computed and not yet in the index, so that a killed worker embeds nothing twice."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    index = models.ForeignKey(EmbeddingIndex, on_delete=models.CASCADE, related_name="+")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="+")
    text_hash = models.CharField(max_length=64)
    vector = models.BinaryField(help_text=_("float32, little endian"))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["document", "index", "text_hash"], name="knowledge_staged_once")]

    def __str__(self) -> str:
        return self.text_hash
