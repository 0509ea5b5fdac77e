"""How well the engine finds: nDCG@10 and recall@100 on a test collection in BEIR's form, in a workspace of its own.

BEIR (Thakur et al., 2021): `corpus.jsonl` {_id, title, text}, `queries.jsonl` {_id, text}, `qrels/test.tsv` (query,
document, grade). nDCG as trec_eval computes it: gain is the grade, discount is log2(rank + 1).
"""

import hashlib
import json
import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from accounts.models import Workspace
from core.exceptions import InvalidInput
from knowledge.choices import DocumentStatus
from knowledge.indexing import ensure_index, needs_ann, reweigh, swap, vector_text
from knowledge.ingestion.pipeline import Prepared, prepare
from knowledge.models import Document, EmbeddingIndex, KnowledgeSource
from knowledge.retrieval.search import HybridQuery, search_sync
from knowledge.retrieval.tables import build_ann, drop_partitions
from knowledge.schemas import Chunking
from knowledge.selectors import search_indexes
from knowledge.services import index_point
from llm import client
from llm.choices import ModelKind
from llm.models import Model
from llm.seeds import seed_workspace
from llm.selectors import default_model
from plugins.contracts import Block, BlockKind, EmbeddingPurpose, ParsedDocument

MODES = ("hybrid", "dense", "lexical")
TOP, DEEP = 10, 100
PASSAGES = 300  # enough for DEEP different documents
BATCH = 256

Say = Callable[[str], None]


@dataclass(frozen=True)
class Collection:
    """A test collection; `relevant`: grade by document, by query."""

    name: str
    documents: Path
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]


def read_collection(folder: Path) -> Collection:
    """Raises InvalidInput when the folder is not in BEIR's form."""
    try:
        lines = (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
        relevant: dict[str, dict[str, int]] = {}
        for query, document, grade in (line.split("\t") for line in lines if line.strip()):
            relevant.setdefault(query, {})[document] = int(grade)
        asked = {one["_id"]: one["text"] for one in _rows(folder / "queries.jsonl") if one["_id"] in relevant}
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"{folder} is not in BEIR's form: {error}.") from error
    return Collection(folder.name, folder / "corpus.jsonl", asked, relevant)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def retrieval(collection: Collection, say: Say) -> dict[str, Any]:
    """Index the collection with the default model, ask every query in every mode, remove everything again."""
    workspace = Workspace.objects.create(name="Benchmark", slug=f"benchmark-{uuid.uuid4().hex[:12]}")
    try:
        seed_workspace(workspace.pk)
        source = make_source(workspace)
        began = time.perf_counter()
        documents = fill(source, collection, say)
        indexed = time.perf_counter() - began
        return {
            "collection": collection.name,
            "documents": len(documents),
            "passages": EmbeddingIndex._unscoped.get(pk=source.active_index_id).chunk_count,
            "queries": len(collection.queries),
            "model": source.embedding_model.slug,
            "index_seconds": round(indexed, 1),
            **_ask(source, collection, documents, say),
        }
    finally:
        remove(workspace)


def make_source(workspace: Workspace) -> KnowledgeSource:
    source = KnowledgeSource(
        workspace=workspace,
        name="Benchmark",
        slug="benchmark",
        embedding_model=default_model(workspace.pk, ModelKind.EMBEDDING),
    )
    source.full_clean()
    source.save()
    index_point(source)
    return source


def remove(workspace: Workspace) -> None:
    indexes = list(EmbeddingIndex.objects.for_workspace(workspace.pk).values_list("pk", flat=True))
    KnowledgeSource.objects.for_workspace(workspace.pk).delete()
    Model.objects.for_workspace(workspace.pk).delete()
    workspace.delete()
    for index_id in indexes:
        drop_partitions(index_id)


def fill(source: KnowledgeSource, collection: Collection, say: Say) -> dict[uuid.UUID, str]:
    """Every document as ingestion would index it; returns the collection's id by document."""
    index = EmbeddingIndex._unscoped.select_related("model__provider").get(pk=source.active_index_id)
    ids: dict[uuid.UUID, str] = {}
    batch: list[tuple[Document, Prepared]] = []
    for row in _rows(collection.documents):
        document = _document(source, row)
        ids[document.pk] = row["_id"]
        parsed = ParsedDocument((Block(BlockKind.PARAGRAPH, row["text"] or row.get("title", "")),))
        batch.append((document, prepare(document, parsed, index.model, Chunking.model_validate(source.chunking))))
        if len(batch) == BATCH:
            _index(index, batch)
            batch = []
            say(f"{len(ids)} documents indexed")
    _index(index, batch)
    reweigh(index)
    index.refresh_from_db()
    if needs_ann(index) and index.dimensions:
        build_ann(index.pk, index.dimensions)
        EmbeddingIndex._unscoped.filter(pk=index.pk).update(has_ann=True)
    return ids


def _document(source: KnowledgeSource, row: Mapping[str, Any]) -> Document:
    document = Document(
        workspace_id=source.workspace_id,
        source=source,
        external_id=row["_id"][:500],
        title=row.get("title", "")[:500],
        media_type="text/plain",
        size=len(row["text"]),
        checksum=hashlib.sha256(row["text"].encode()).hexdigest(),
        status=DocumentStatus.READY,
    )
    document.save()
    return document


def _index(index: EmbeddingIndex, batch: Sequence[tuple[Document, Prepared]]) -> None:
    texts = {one.text_hash: one.embedded_text for _, prepared in batch for one in prepared.passages}
    if not texts:
        return
    vectors = client.embed_sync(index.model, list(texts.values()), purpose=EmbeddingPurpose.PASSAGE)
    kept = {key: vector_text(vector) for key, vector in zip(texts, vectors, strict=True)}
    ensure_index(index, vectors.shape[1])
    for document, prepared in batch:
        swap(document, index, prepared.passages, kept)


def _ask(
    source: KnowledgeSource, collection: Collection, documents: Mapping[uuid.UUID, str], say: Say
) -> dict[str, Any]:
    """Scores and times by mode; those of the hybrid search stand on top."""
    model = source.embedding_model
    texts = list(collection.queries.values())
    vectors = client.embed_sync(model, texts, purpose=EmbeddingPurpose.QUERY)
    indexes = tuple(search_indexes(source.workspace_id, [source.pk]))
    scores: dict[str, Any] = {}
    for mode in MODES:
        gains, recalls, times = [], [], []
        for (query_id, text), vector in zip(collection.queries.items(), vectors, strict=True):
            asked = HybridQuery(source.workspace_id, indexes, text, {model.pk: vector}, mode=mode, limit=PASSAGES)
            began = time.perf_counter()
            found = search_sync(asked)
            times.append((time.perf_counter() - began) * 1000)
            ranked = list(dict.fromkeys(documents[one.document_id] for one in found))
            gains.append(ndcg(ranked, collection.relevant[query_id], TOP))
            recalls.append(recall(ranked, collection.relevant[query_id], DEEP))
        scores[mode] = {
            f"ndcg@{TOP}": round(fmean(gains), 4),
            f"recall@{DEEP}": round(fmean(recalls), 4),
            "search_ms_p50": round(median(times), 1),
        }
        say(f"{mode}: {scores[mode]}")
    return {**scores["hybrid"], "modes": scores}


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], depth: int) -> float:
    """Normalised discounted cumulative gain of the first `depth`."""
    gain = sum(relevant.get(one, 0) / math.log2(rank + 1) for rank, one in enumerate(ranked[:depth], start=1))
    grades = sorted((grade for grade in relevant.values() if grade > 0), reverse=True)[:depth]
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))
    return gain / ideal if ideal else 0.0


def recall(ranked: Sequence[str], relevant: Mapping[str, int], depth: int) -> float:
    """The share of relevant documents among the first `depth`."""
    wanted = {one for one, grade in relevant.items() if grade > 0}
    return len(wanted & set(ranked[:depth])) / len(wanted) if wanted else 0.0
