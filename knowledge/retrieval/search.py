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

from django.conf import settings
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
        statement = _statement(cursor, query, terms, frequencies, condition)
        if statement is None:
            return []
        cursor.execute(statement)
        return [_candidate(row) for row in cursor.fetchall()]


def _statement(
    cursor: Any,
    query: HybridQuery,
    terms: Counter[int],
    frequencies: Mapping[uuid.UUID, Mapping[int, int]],
    condition: Condition | None,
) -> sql.Composed | None:
    """The whole search, or None when there is nothing to look for."""
    approximate = any(index.has_ann for index in query.indexes)
    if approximate:
        _tune(cursor, query)
    parts = []
    for index in query.indexes:
        scope = _scope(cursor, index, condition) if condition is not None else EVERYTHING
        parts.append(_part(query, index, terms, frequencies[index.index_id], scope))
    found = [part for part in parts if part is not None]
    return _fused(query, found) if found else None


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


@dataclass(frozen=True)
class _Scope:
    """Which passages a filter keeps, as SQL on chunk_id. exact: so few that all their vectors are compared."""

    only: sql.Composable
    exact: bool


EVERYTHING = _Scope(sql.SQL("TRUE"), exact=False)


def _scope(cursor: Any, index: SearchIndex, condition: Condition) -> _Scope:
    """A selective filter goes first and its passages are compared one by one; a broad one is asked on the way."""
    kept = sql.SQL(KEPT).format(
        source=sql.Literal(index.source_id), index=sql.Literal(index.index_id), condition=condition.composed()
    )
    if index.has_ann:
        most = int(settings.VECTOR_DB["exact_below"])
        cursor.execute(sql.SQL("SELECT count(*) FROM ({} LIMIT {}) k").format(kept, sql.Literal(most + 1)))
        if cursor.fetchone()[0] > most:
            return _Scope(sql.SQL(ASKED).format(condition=condition.composed()), exact=False)
    return _Scope(sql.SQL("chunk_id = ANY(ARRAY({}))").format(kept), exact=True)


def _part(
    query: HybridQuery, index: SearchIndex, terms: Counter[int], frequencies: Mapping[int, int], scope: _Scope
) -> sql.Composed | None:
    """The scored pool of one index, or None when neither search has anything to look for."""
    vector = query.vectors.get(index.model.pk) if query.mode != "lexical" else None
    weights = bm25.query_weights(terms, frequencies, index.chunk_count)
    if vector is None and not weights:
        return None
    names = {
        "vectors": sql.Identifier(partition(VECTORS, index.index_id)),
        "lexical": sql.Identifier(partition(LEXICAL, index.index_id)),
        "only": scope.only,
        "candidates": sql.Literal(query.candidates),
        "distance": _distance(index, vector),
        "exactly": sql.SQL("+ 0" if scope.exact or not index.has_ann else ""),
        "words": sql.Literal(bm25.sparse_text({bm25.position(t): w for t, w in weights.items()})),
        "terms": sql.Literal(bm25.candidate_terms(weights, frequencies, index.chunk_count)),
    }
    return sql.SQL(POOL).format(
        dense=sql.SQL(DENSE if vector is not None else NOTHING).format(**names),
        words=sql.SQL(WORDS if weights else NOTHING).format(**names),
        similarity=sql.SQL("1 - {distance}" if vector is not None else "NULL::float8").format(**names),
        bm25=sql.SQL("-(l.weights <#> {words}::sparsevec)" if weights else "NULL::float8").format(**names),
        space=sql.Literal(str(index.model.pk)),
        vectors=names["vectors"],
        lexical=names["lexical"],
    )


def _distance(index: SearchIndex, vector: Vectors | None) -> sql.Composable:
    if vector is None:
        return sql.SQL("NULL")
    text = "[" + ",".join(f"{value:.7g}" for value in vector) + "]"
    size = sql.Literal(index.dimensions)
    return sql.SQL("(embedding::halfvec({}) <=> {}::halfvec({}))").format(size, sql.Literal(text), size)


def _tune(cursor: Any, query: HybridQuery) -> None:
    """How far HNSW looks: more in a larger index, so that its recall stays (measured: 200 at 100,000, 800 at 10^6).
    A filter that it meets on the way makes it look on until there are enough. A large table is never read whole."""
    largest = max(index.chunk_count for index in query.indexes if index.has_ann)
    wanted = max(query.candidates * 2, int(200 * (max(largest, 1) / 100_000) ** 0.6))
    cursor.execute(
        "SELECT set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'relaxed_order', true),"
        " set_config('enable_seqscan', 'off', true)",
        [str(min(max(wanted, 40), 1000))],
    )


KEPT = """
    SELECT c.id FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id
    WHERE d.source_id = {source} AND c.index_id = {index} AND {condition}
"""
# A scalar subquery is not flattened into a join, which would read the whole table before the first distance.
ASKED = """
    (SELECT {condition} FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id WHERE c.id = chunk_id)
"""
NOTHING = "SELECT NULL::uuid AS chunk_id, NULL::bigint AS rank WHERE FALSE"
DENSE = """
    SELECT chunk_id, row_number() OVER () AS rank FROM (
        SELECT chunk_id FROM {vectors} WHERE {only} ORDER BY {distance} {exactly} LIMIT {candidates}) nearest
"""
WORDS = """
    SELECT chunk_id, row_number() OVER () AS rank FROM (
        SELECT chunk_id FROM {lexical} WHERE terms && {terms}::int[] AND {only}
        ORDER BY weights <#> {words}::sparsevec, chunk_id LIMIT {candidates}) best
"""
POOL = """
    SELECT p.chunk_id, p.dense_rank, p.lexical_rank, {similarity} AS dense, {bm25} AS lexical, {space} AS space
    FROM (SELECT chunk_id, d.rank AS dense_rank, w.rank AS lexical_rank
          FROM ({dense}) d FULL JOIN ({words}) w USING (chunk_id)) p
    JOIN {vectors} v USING (chunk_id) JOIN {lexical} l USING (chunk_id)
"""
# Similarities are scaled for each model by itself: those of two models do not compare.
FUSED = """
    WITH pool AS ({pool}),
    scaled AS (
        SELECT chunk_id, dense, lexical,
               CASE WHEN dense_rank IS NOT NULL
                    THEN rank() OVER (PARTITION BY dense_rank IS NULL, space ORDER BY dense DESC) END AS dense_rank,
               CASE WHEN lexical_rank IS NOT NULL
                    THEN rank() OVER (PARTITION BY lexical_rank IS NULL ORDER BY lexical DESC) END AS lexical_rank,
               CASE WHEN max(dense) OVER alike > min(dense) OVER alike
                    THEN (dense - min(dense) OVER alike) / (max(dense) OVER alike - min(dense) OVER alike)
                    WHEN dense > 0 THEN 1 ELSE 0 END AS d,
               CASE WHEN max(lexical) OVER () > min(lexical) OVER ()
                    THEN (lexical - min(lexical) OVER ()) / (max(lexical) OVER () - min(lexical) OVER ())
                    WHEN lexical > 0 THEN 1 ELSE 0 END AS l
        FROM pool WINDOW alike AS (PARTITION BY space)),
    best AS (
        SELECT *, {weight}::float8 * d + (1 - {weight}::float8) * l AS score
        FROM scaled ORDER BY score DESC, chunk_id LIMIT {limit})
    SELECT b.chunk_id, c.document_id, t.source_id, t.title, t.url, c.text, c.page, c.heading_path, c.ordinal,
           c.char_start, c.char_end, b.dense, b.dense_rank, b.lexical, b.lexical_rank, b.score
    FROM best b JOIN knowledge_chunk c ON c.id = b.chunk_id JOIN knowledge_document t ON t.id = c.document_id
    WHERE c.workspace_id = {workspace}
    ORDER BY b.score DESC, b.chunk_id
"""


def _fused(query: HybridQuery, parts: Sequence[sql.Composed]) -> sql.Composed:
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
