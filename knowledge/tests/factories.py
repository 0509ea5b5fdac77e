"""Sources, documents and filled indexes for tests."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import factory
import numpy as np

from accounts.tests.factories import WorkspaceFactory
from knowledge.choices import DocumentStatus
from knowledge.indexing import ensure_index, swap, vector_text
from knowledge.ingestion.pipeline import Passage, embedded_text
from knowledge.models import Chunk, Document, EmbeddingIndex, KnowledgeSource
from knowledge.retrieval.search import HybridQuery
from knowledge.selectors import search_indexes
from knowledge.services import index_point
from llm.tests.factories import LocalModelFactory, WorkspaceRowFactory
from plugins.contracts import ChunkDraft


class SourceFactory(WorkspaceRowFactory):
    class Meta:
        model = KnowledgeSource
        skip_postgeneration_save = True

    workspace = factory.SubFactory(WorkspaceFactory)
    name = factory.Sequence(lambda n: f"Source {n}")
    slug = factory.Sequence(lambda n: f"source-{n}")
    embedding_model = factory.SubFactory(
        LocalModelFactory, provider__workspace=factory.SelfAttribute("...workspace"), dimensions=8
    )

    @factory.post_generation
    def indexed(self: KnowledgeSource, create: bool, extracted: Any, **_: Any) -> None:
        index_point(self)


class DocumentFactory(WorkspaceRowFactory):
    class Meta:
        model = Document

    source = factory.SubFactory(SourceFactory)
    workspace = factory.SelfAttribute("source.workspace")
    external_id = factory.Sequence(lambda n: f"document-{n}.txt")
    title = factory.Sequence(lambda n: f"Document {n}")
    media_type = "text/plain"
    size = 10
    checksum = factory.Sequence(lambda n: sha256(str(n).encode()).hexdigest())
    storage_key = ""
    status = DocumentStatus.READY


def index_of(source: KnowledgeSource) -> EmbeddingIndex:
    return EmbeddingIndex._unscoped.get(pk=source.active_index_id)


def fill(document: Document, texts: Sequence[str], vectors: Sequence[Sequence[float]]) -> list[Chunk]:
    """Give a document these passages with these vectors, as its ingestion would."""
    index = index_of(document.source)
    ensure_index(index, len(vectors[0]))
    passages, kept = [], {}
    for ordinal, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        key = sha256(f"{ordinal} {text}".encode()).hexdigest()
        draft = ChunkDraft(ordinal, text, (), None, 0, len(text))
        passages.append(Passage(draft, embedded_text(document.title, (), text), key))
        kept[key] = vector_text(np.array(vector, dtype=np.float32))
    swap(document, index, passages, kept)
    return list(Chunk._unscoped.filter(document=document).order_by("ordinal"))


def axis(place: int, size: int = 8) -> list[float]:
    """The unit vector along one axis."""
    return [1.0 if i == place else 0.0 for i in range(size)]


def query(sources: Sequence[KnowledgeSource], text: str = "", vector: Any = None, **options: Any) -> HybridQuery:
    """A search over all of these sources; the vector is asked of each model."""
    found = search_indexes(sources[0].workspace_id, [source.pk for source in sources])
    vectors = {} if vector is None else {one.model.pk: np.array(vector, dtype=np.float32) for one in found}
    return HybridQuery(
        workspace_id=sources[0].workspace_id, indexes=tuple(found), text=text, vectors=vectors, **options
    )
