"""Hybrid search: vectors and BM25 of all sources, fused, in one statement.

Each index offers its best candidates by either search; the pool is scored by both, each signal is scaled to 0..1 over
the pool, and the weighted sum ranks. Convex fusion of min-max scaled scores measured better than reciprocal ranks on
every set (Bruch et al., 2023, come to the same).
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from core.database import in_database
from knowledge.choices import FieldType
from knowledge.retrieval import bm25
from knowledge.retrieval.filters import Condition, compile_filter
from knowledge.retrieval.tables import LEXICAL, VECTORS, partition
from knowledge.retrieval.terms import terms_of
from llm.models import Model
from plugins.contracts import Vectors

MODES = frozenset({"hybrid", "dense", "lexical"})
EXACT_FILTERED = 20_000  # so many passages that a filter keeps are compared one by one


@dataclass(frozen=True)
class SearchIndex:
    """The live index of a source, with what a search needs to know of it."""

    index_id: uuid.UUID
    source_id: uuid.UUID
    model: Model
    dimensions: int
    chunk_count: int
    has_ann: bool
    filter_fields: Mapping[str, FieldType] = field(default_factory=dict)


@dataclass(frozen=True)
class HybridQuery:
    """vectors: the query's vector by embedding model id; without them only words are searched."""

    workspace_id: uuid.UUID
    indexes: tuple[SearchIndex, ...]
    text: str
    vectors: Mapping[uuid.UUID, Vectors]
    mode: str = "hybrid"
    limit: int = 5
    candidates: int = 100
    dense_weight: float = 0.5
    filters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Candidate:
    """A found passage. dense_score: cosine similarity; lexical_score: BM25; score: fused, 0 to 1. Ranks start at 1 and
    are None where that search did not offer it."""

    chunk_id: uuid.UUID
    document_id: uuid.UUID
    source_id: uuid.UUID
    title: str
    url: str
    text: str
    page: int | None
    heading_path: tuple[str, ...]
    ordinal: int
    char_start: int
    char_end: int
    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    score: float


async def search(query: HybridQuery) -> list[Candidate]:
    """The best passages, at most `limit`. Raises InvalidInput for filters on undeclared fields."""
    return await in_database(search_sync, query)


def search_sync(query: HybridQuery) -> list[Candidate]:
    """The same for synchronous code: the term statistics, then one statement."""
    condition = compile_filter(query.filters, _common_fields(query.indexes))
    terms = terms_of(query.text) if query.mode != "dense" else Counter()
    with transaction.atomic(), connection.cursor() as cursor:
        frequencies = _frequencies(cursor, query.indexes, terms)
        parts = [_part(cursor, query, index, terms, frequencies[index.index_id], condition) for index in query.indexes]
        parts = [part for part in parts if part is not None]
        if not parts:
            return []
        cursor.execute(_statement(query, parts))
        return [_candidate(row) for row in cursor.fetchall()]


def _common_fields(indexes: Sequence[SearchIndex]) -> dict[str, FieldType]:
    """A filter may name what any of the searched sources declares; a document without the field does not match."""
    return {name: kind for index in indexes for name, kind in index.filter_fields.items()}


def _frequencies(cursor: Any, indexes: Sequence[SearchIndex], terms: Counter[int]) -> dict[uuid.UUID, dict[int, int]]:
    found: dict[uuid.UUID, dict[int, int]] = {index.index_id: {} for index in indexes}
    if terms:
        cursor.execute(
            "SELECT index_id, term, document_frequency FROM knowledge_termstatistic"
            " WHERE index_id = ANY(%s) AND term = ANY(%s)",
            [[index.index_id for index in indexes], list(terms)],
        )
        for index_id, term, frequency in cursor.fetchall():
            found[index_id][term] = frequency
    return found


def _part(  # what one index contributes to the statement
    cursor: Any,
    query: HybridQuery,
    index: SearchIndex,
    terms: Counter[int],
    frequencies: Mapping[int, int],
    condition: Condition | None,
) -> sql.Composed | None:
    """The scored pool of one index, or None when neither search has anything to look for."""
    vector = query.vectors.get(index.model.pk) if query.mode != "lexical" else None
    weights = bm25.query_weights(terms, frequencies, index.chunk_count)
    if vector is None and not weights:
        return None
    kept = _kept(cursor, index, condition)
    names = {
        "vectors": sql.Identifier(partition(VECTORS, index.index_id)),
        "lexical": sql.Identifier(partition(LEXICAL, index.index_id)),
        "only": sql.SQL("TRUE") if kept is None else sql.SQL("chunk_id = ANY({})").format(sql.Literal(kept)),
        "candidates": sql.Literal(query.candidates),
        "distance": _distance(index, vector),
        "words": sql.Literal(bm25.sparse_text({bm25.position(t): w for t, w in weights.items()})),
        "terms": sql.Literal(bm25.candidate_terms(weights, frequencies, index.chunk_count)),
    }
    if index.has_ann and kept is None and vector is not None:
        cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", [str(_ef_search(index, query.candidates))])
    dense = sql.SQL(DENSE if vector is not None else NOTHING).format(**names)
    if kept is not None and vector is not None:
        dense = sql.SQL(DENSE_EXACT).format(**names)
    lexical = sql.SQL(WORDS if weights else NOTHING).format(**names)
    shown = sql.SQL("1 - {distance}" if vector is not None else "NULL::float8").format(**names)
    said = sql.SQL("-(l.weights <#> {words}::sparsevec)" if weights else "NULL::float8").format(**names)
    return sql.SQL(POOL).format(dense=dense, words=lexical, similarity=shown, bm25=said, **{
        name: names[name] for name in ("vectors", "lexical")
    })  # fmt: skip


def _distance(index: SearchIndex, vector: Vectors | None) -> sql.Composable:
    if vector is None:
        return sql.SQL("NULL")
    text = "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
    size = sql.Literal(index.dimensions)
    return sql.SQL("(embedding::halfvec({}) <=> {}::halfvec({}))").format(size, sql.Literal(text), size)


def _ef_search(index: SearchIndex, candidates: int) -> int:
    """How far HNSW looks: more in a larger index, so that its recall stays (measured: 200 at 100,000, 800 at 10^6)."""
    wanted = max(candidates * 2, int(200 * (max(index.chunk_count, 1) / 100_000) ** 0.6))
    return min(max(wanted, 40), 1000)


def _kept(cursor: Any, index: SearchIndex, condition: Condition | None) -> list[uuid.UUID] | None:
    """The passages that the filter keeps; None without a filter. A selective filter goes first and exact."""
    if condition is None:
        return None
    cursor.execute(
        "SELECT c.id FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id"  # noqa: S608
        f" WHERE d.source_id = %s AND c.index_id = %s AND {condition.sql}",  # built from declared names
        [index.source_id, index.index_id, *condition.parameters],
    )
    return [row[0] for row in cursor.fetchall()]


NOTHING = "SELECT NULL::uuid AS chunk_id, NULL::bigint AS rank WHERE FALSE"
DENSE = """
    SELECT chunk_id, row_number() OVER () AS rank FROM (
        SELECT chunk_id FROM {vectors} WHERE {only} ORDER BY {distance} LIMIT {candidates}) nearest
"""
DENSE_EXACT = """
    SELECT chunk_id, row_number() OVER () AS rank FROM (
        SELECT chunk_id FROM {vectors} WHERE {only} ORDER BY {distance} + 0 LIMIT {candidates}) nearest
"""
WORDS = """
    SELECT chunk_id, row_number() OVER () AS rank FROM (
        SELECT chunk_id FROM {lexical} WHERE terms && {terms}::int[] AND {only}
        ORDER BY weights <#> {words}::sparsevec, chunk_id LIMIT {candidates}) best
"""
POOL = """
    SELECT p.chunk_id, p.dense_rank, p.lexical_rank, {similarity} AS dense, {bm25} AS lexical
    FROM (SELECT chunk_id, d.rank AS dense_rank, w.rank AS lexical_rank
          FROM ({dense}) d FULL JOIN ({words}) w USING (chunk_id)) p
    JOIN {vectors} v USING (chunk_id) JOIN {lexical} l USING (chunk_id)
"""
FUSED = """
    WITH pool AS ({pool}),
    scaled AS (
        SELECT chunk_id, dense_rank, lexical_rank, dense, lexical,
               CASE WHEN max(dense) OVER () > min(dense) OVER ()
                    THEN (dense - min(dense) OVER ()) / (max(dense) OVER () - min(dense) OVER ())
                    WHEN dense > 0 THEN 1 ELSE 0 END AS d,
               CASE WHEN max(lexical) OVER () > min(lexical) OVER ()
                    THEN (lexical - min(lexical) OVER ()) / (max(lexical) OVER () - min(lexical) OVER ())
                    WHEN lexical > 0 THEN 1 ELSE 0 END AS l
        FROM pool),
    best AS (
        SELECT *, {weight}::float8 * d + (1 - {weight}::float8) * l AS score
        FROM scaled ORDER BY score DESC, chunk_id LIMIT {limit})
    SELECT b.chunk_id, c.document_id, t.source_id, t.title, t.url, c.text, c.page, c.heading_path, c.ordinal,
           c.char_start, c.char_end, b.dense, b.dense_rank, b.lexical, b.lexical_rank, b.score
    FROM best b JOIN knowledge_chunk c ON c.id = b.chunk_id JOIN knowledge_document t ON t.id = c.document_id
    WHERE c.workspace_id = {workspace}
    ORDER BY b.score DESC, b.chunk_id
"""


def _statement(query: HybridQuery, parts: Sequence[sql.Composed]) -> sql.Composed:
    weight = {"dense": 1.0, "lexical": 0.0}.get(query.mode, query.dense_weight if query.vectors else 0.0)
    return sql.SQL(FUSED).format(
        pool=sql.SQL(" UNION ALL ").join(parts),
        weight=sql.Literal(weight),
        limit=sql.Literal(query.limit),
        workspace=sql.Literal(query.workspace_id),
    )


def _candidate(row: Sequence[Any]) -> Candidate:
    values = list(row)
    values[7] = tuple(values[7])
    return Candidate(*values)


SURROUNDINGS = """
    SELECT c.id, min(n.char_start), max(n.char_end), c.document_id
    FROM knowledge_chunk c JOIN knowledge_chunk n
      ON n.document_id = c.document_id AND n.index_id = c.index_id
         AND n.ordinal BETWEEN c.ordinal - %s AND c.ordinal + %s
    WHERE c.id = ANY(%s) GROUP BY c.id
"""


async def surroundings(chunk_ids: Sequence[uuid.UUID], reach: int) -> dict[uuid.UUID, tuple[str, int]]:
    """The document's text from `reach` passages before each passage to `reach` behind it, with its offset."""
    return await in_database(_surroundings, list(chunk_ids), reach)


def _surroundings(chunk_ids: list[uuid.UUID], reach: int) -> dict[uuid.UUID, tuple[str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT s.id, substr(b.text, s.min + 1, s.max - s.min), s.min FROM ({SURROUNDINGS}) s"  # noqa: S608  # constants
            " JOIN knowledge_documenttext b ON b.document_id = s.document_id",
            [reach, reach, chunk_ids],
        )
        return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
