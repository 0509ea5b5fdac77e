"""The swap: a document's passages, vectors, lexical rows and statistics change in one short transaction."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from psycopg import sql

from core.faults import fault
from knowledge.ingestion.pipeline import Passage, embedded_text
from knowledge.models import Chunk, Document, EmbeddingIndex
from knowledge.retrieval import bm25
from knowledge.retrieval.tables import LEXICAL, VECTORS, create_partitions, partition
from knowledge.retrieval.terms import terms_of
from plugins.contracts import Vectors

REWEIGH_AT = 0.2  # the mean length may move so far from the one in the weights before they are computed anew
STATISTICS = """
    INSERT INTO knowledge_termstatistic (index_id, term, document_frequency)
    SELECT %s, t.term, t.change FROM unnest(%s::int[], %s::int[]) AS t (term, change) ORDER BY t.term
    ON CONFLICT (index_id, term)
    DO UPDATE SET document_frequency = knowledge_termstatistic.document_frequency + EXCLUDED.document_frequency
"""


def vectors_in_index(document: Document, index: EmbeddingIndex) -> dict[str, str]:
    """The vectors that the document's present passages have, by hash, in pgvector's text form."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.text_hash, v.embedding::text FROM knowledge_chunk c"
            " JOIN knowledge_chunkvector v ON v.chunk_id = c.id AND v.index_id = c.index_id"
            " WHERE c.document_id = %s AND c.index_id = %s",
            [document.pk, index.pk],
        )
        return dict(cursor.fetchall())


def ensure_index(index: EmbeddingIndex, dimensions: int) -> None:
    """Give the index its partitions, once the size of its vectors is known."""
    with transaction.atomic():
        locked = EmbeddingIndex._unscoped.select_for_update().get(pk=index.pk)
        if locked.dimensions is None:
            locked.dimensions = dimensions
            locked.save(update_fields=["dimensions", "updated_at"])
        create_partitions(locked.pk, locked.dimensions)
    index.dimensions = locked.dimensions


def swap(document: Document, index: EmbeddingIndex, passages: Sequence[Passage], vectors: Mapping[str, str]) -> None:
    """Replace the document's passages in this index. Call it inside the transaction that marks it ready."""
    remove_passages(document)
    counted = [terms_of(passage.embedded_text) for passage in passages]
    chunks = [
        Chunk(
            workspace_id=document.workspace_id,
            document=document,
            index=index,
            ordinal=passage.draft.ordinal,
            text=passage.draft.text,
            heading_path=[heading[:500] for heading in passage.draft.heading_path],
            page=passage.draft.page,
            char_start=passage.draft.char_start,
            char_end=passage.draft.char_end,
            text_hash=passage.text_hash,
            term_count=sum(terms.values()),
        )
        for passage, terms in zip(passages, counted, strict=True)
    ]
    average = _count(index.pk, counted, +1, sum(chunk.term_count for chunk in chunks))
    Chunk._unscoped.bulk_create(chunks, batch_size=1000)
    _copy(VECTORS, index, ("embedding",), [(chunk.pk, vectors[chunk.text_hash]) for chunk in chunks])
    _copy(LEXICAL, index, ("terms", "weights"), [
        (chunk.pk, sorted(terms), bm25.sparse_text(bm25.passage_weights(terms, average)))
        for chunk, terms in zip(chunks, counted, strict=True)
    ])  # fmt: skip


def remove_passages(document: Document) -> None:
    """Take a document's passages out of all indexes, with their vectors, lexical rows and statistics."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.index_id, c.term_count, l.terms FROM knowledge_chunk c"
            " JOIN knowledge_lexical l ON l.chunk_id = c.id AND l.index_id = c.index_id WHERE c.document_id = %s",
            [document.pk],
        )
        rows = cursor.fetchall()
    for index_id in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == index_id]
        _count(index_id, [Counter(row[2]) for row in mine], -1, sum(row[1] for row in mine))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM knowledge_chunk WHERE document_id = %s", [document.pk])


def _count(index_id: uuid.UUID, counted: Sequence[Counter[int]], sign: int, length: int) -> float:
    """Add to (or take from) the statistics of the index; returns the mean length to weigh with."""
    changes: Counter[int] = Counter(term for terms in counted for term in terms)
    EmbeddingIndex._unscoped.filter(pk=index_id).update(
        chunk_count=F("chunk_count") + sign * len(counted), term_count=F("term_count") + sign * length
    )
    with connection.cursor() as cursor:
        cursor.execute(STATISTICS, [index_id, list(changes), [sign * count for count in changes.values()]])
    row = EmbeddingIndex._unscoped.values_list("chunk_count", "term_count", "average_terms").get(pk=index_id)
    if row[2] == 0 and row[0] > 0:
        average = row[1] / row[0]
        EmbeddingIndex._unscoped.filter(pk=index_id).update(average_terms=average)
        return float(average)
    return float(row[2])


def _copy(table: str, index: EmbeddingIndex, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """COPY rows into the partition of the index."""
    target = sql.SQL("COPY {} (index_id, chunk_id, {}) FROM STDIN").format(
        sql.Identifier(partition(table, index.pk)), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(target) as copy:
        for chunk_id, *values in rows:
            copy.write_row((index.pk, chunk_id, *values))


def needs_reweighing(index: EmbeddingIndex) -> bool:
    """Whether the mean length has moved away from the one in the stored weights."""
    index.refresh_from_db()
    if not index.chunk_count or not index.average_terms:
        return False
    return abs(index.term_count / index.chunk_count / index.average_terms - 1) > REWEIGH_AT


def needs_ann(index: EmbeddingIndex) -> bool:
    """Whether the index has outgrown exact search."""
    return not index.has_ann and index.chunk_count > settings.VECTOR_DB["exact_below"]


def reweigh(index: EmbeddingIndex) -> None:
    """Open the next epoch: compute all weights anew with the present mean length, in batches."""
    index.refresh_from_db()
    average = index.term_count / max(index.chunk_count, 1)
    EmbeddingIndex._unscoped.filter(pk=index.pk).update(average_terms=average)
    rows = Chunk._unscoped.filter(index=index).select_related("document").order_by("pk")
    update = sql.SQL("UPDATE {} SET weights = %s::sparsevec WHERE index_id = %s AND chunk_id = %s").format(
        sql.Identifier(partition(LEXICAL, index.pk))
    )
    last: uuid.UUID | None = None
    while batch := list(rows.filter(pk__gt=last)[:500] if last else rows[:500]):
        last = batch[-1].pk
        values = [
            (
                bm25.sparse_text(
                    bm25.passage_weights(
                        terms_of(embedded_text(chunk.document.title, chunk.heading_path, chunk.text)), average
                    )
                ),
                index.pk,
                chunk.pk,
            )
            for chunk in batch
        ]
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(update, values)
        fault("epoch.batch_weighed")


def vector_text(vector: Vectors) -> str:
    """pgvector's text form of a vector."""
    return "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
