"""An index above `exact_below`: no statement of a search reads a whole table, and hardly anything is missed."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from django.conf import settings
from django.db import connection
from psycopg import sql

from knowledge.indexing import needs_ann
from knowledge.models import Chunk, Document, EmbeddingIndex
from knowledge.retrieval.search import search_sync
from knowledge.retrieval.tables import build_ann
from knowledge.tests.factories import DocumentFactory, SourceFactory, fill, index_of, query

ROWS = 12_000
SIZE = 32
MOST = 10_000

pytestmark = pytest.mark.django_db(transaction=True)


class Plans:
    """The plan of every statement that is executed while this wraps the connection."""

    def __init__(self) -> None:
        self.label: Any = None
        self.nodes: list[dict[str, Any]] = []

    def __call__(self, execute: Any, statement: Any, params: Any, many: bool, context: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string(connection.connection)
        if text.lstrip().upper().startswith(("SELECT", "WITH")) and "set_config" not in text:
            explain = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + (
                sql.SQL(text) if isinstance(statement, str) else statement
            )
            with connection.connection.cursor() as cursor:
                cursor.execute(explain, params)
                plan = cursor.fetchone()[0]
            top = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
            self.nodes.extend({**node, "label": self.label} for node in _nodes(top))
        return execute(statement, params, many, context)

    def sequential_scans(self, above: int) -> list[Any]:
        """Which search read so many rows of which table one after the other."""
        return [
            (node["label"], node["Relation Name"], rows)
            for node in self.nodes
            if node["Node Type"] == "Seq Scan"
            and (rows := node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) > above
        ]

    def used(self, index_name: str) -> bool:
        return any(node.get("Index Name", "").endswith(index_name) for node in self.nodes)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


@pytest.fixture
def vectors():
    made = np.random.default_rng(7).normal(size=(ROWS, SIZE)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def large(vectors):
    """12,000 passages, a hundred to a document; every word of the vocabulary stands in 1 % of them."""
    source = SourceFactory(
        embedding_model__dimensions=SIZE, filter_fields=[{"name": "tenth", "type": "number"}, {"name": "part"}]
    )
    for start in range(0, ROWS, 2000):
        part = "one" if start == 0 else "other"
        document = DocumentFactory(source=source, metadata={"tenth": start // 2000, "part": part})
        texts = [f"passage word{n % 100} common" for n in range(start, start + 2000)]
        fill(document, texts, vectors[start : start + 2000])
    index = index_of(source)
    assert needs_ann(index)
    build_ann(index.pk, SIZE)
    EmbeddingIndex._unscoped.filter(pk=index.pk).update(has_ann=True)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return source


def exact(vectors: Any, asked: Any, count: int, allowed: Any = None) -> set[int]:
    """Numbers of the nearest vectors."""
    distances = -(vectors @ asked)
    if allowed is not None:
        distances[~allowed] = 9
    return {int(n) for n in np.argsort(distances)[:count]}


def numbers(found: Any) -> set[int]:
    """The place of each found passage among the generated ones."""
    first = {document.pk: n * 2000 for n, document in enumerate(Document._unscoped.order_by("id"))}
    return {first[one.document_id] + one.ordinal for one in found}


@pytest.mark.timeout(180)
def test_a_large_index_is_searched_through_its_indexes(large, vectors):
    rng = np.random.default_rng(11)
    asked = [vectors[n] + rng.normal(scale=0.1, size=SIZE).astype(np.float32) for n in rng.integers(0, ROWS, 20)]
    selective = {"field": "tenth", "op": "eq", "value": 3}
    broad = {"field": "part", "op": "exists"}
    settings.VECTOR_DB["exact_below"] = MOST

    plans = Plans()
    with connection.execute_wrapper(plans):
        for mode, text in product(("hybrid", "dense", "lexical"), ("word7 common", "common")):
            for filters in (None, selective, broad):
                plans.label = (mode, text, filters and filters["field"])
                found = search_sync(query([large], text, asked[0], mode=mode, filters=filters, limit=10))
                assert len(found) == 10, plans.label

    assert plans.sequential_scans(MOST) == []
    assert plans.used("_hnsw")
    assert plans.used("_terms")
    _recall_is_kept(large, vectors, asked, None, None)
    _recall_is_kept(large, vectors, asked, selective, np.arange(ROWS) // 2000 == 3)
    _recall_is_kept(large, vectors, asked, broad, None)


def _recall_is_kept(source: Any, vectors: Any, asked: Any, filters: Any, allowed: Any) -> None:
    hits = 0
    for vector in asked:
        found = search_sync(query([source], "", vector, mode="dense", filters=filters, limit=10))
        hits += len(numbers(found) & exact(vectors, vector, 10, allowed))
    assert hits / (10 * len(asked)) >= 0.98, filters


@pytest.mark.timeout(180)
def test_below_the_limit_the_search_is_exact(vectors):
    source = SourceFactory(embedding_model__dimensions=SIZE)
    fill(DocumentFactory(source=source), ["passage"] * 2000, vectors[:2000])

    assert not needs_ann(index_of(source))
    found = search_sync(query([source], "", vectors[5], mode="dense", limit=20))

    assert numbers(found) == exact(vectors[:2000], vectors[5], 20)
    assert Chunk._unscoped.count() == 2000
