"""For `manage.py check_integrity`: documents, passages, both search tables, statistics and files fit together."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.db import connection

from knowledge import storage
from knowledge.choices import DocumentStatus
from knowledge.models import Document, StagedVector
from knowledge.recurring import YOUNG_SECONDS
from knowledge.retrieval.tables import orphan_tables
from knowledge.services import INGEST_JOB

WRONG_PASSAGES = """
SELECT d.id, d.chunk_count, count(c.id) FROM knowledge_document d
  JOIN knowledge_knowledgesource s ON s.id = d.source_id
  LEFT JOIN knowledge_chunk c ON c.document_id = d.id AND c.index_id = s.active_index_id
 WHERE d.status = 'ready' GROUP BY d.id
HAVING count(c.id) <> d.chunk_count OR count(DISTINCT c.ordinal) <> d.chunk_count
    OR max(c.ordinal) - min(c.ordinal) + 1 <> d.chunk_count
"""
OTHER_INDEX = """
SELECT DISTINCT c.document_id FROM knowledge_chunk c
  JOIN knowledge_document d ON d.id = c.document_id JOIN knowledge_knowledgesource s ON s.id = d.source_id
 WHERE d.status = 'ready' AND c.index_id <> s.active_index_id
"""
NOT_IN_TEXT = """
SELECT c.document_id, c.ordinal FROM knowledge_chunk c
  JOIN knowledge_document d ON d.id = c.document_id AND d.status = 'ready'
  LEFT JOIN knowledge_documenttext t ON t.document_id = d.id
 WHERE substr(t.text, c.char_start + 1, c.char_end - c.char_start) IS DISTINCT FROM c.text
"""
NOT_SEARCHED = """
SELECT c.document_id, c.ordinal FROM knowledge_chunk c
  LEFT JOIN {table} s ON s.index_id = c.index_id AND s.chunk_id = c.id WHERE s.chunk_id IS NULL
"""
WRONG_COUNTS = """
SELECT i.id, i.chunk_count, count(c.id), i.term_count, coalesce(sum(c.term_count), 0)
  FROM knowledge_embeddingindex i LEFT JOIN knowledge_chunk c ON c.index_id = i.id GROUP BY i.id
HAVING i.chunk_count <> count(c.id) OR i.term_count <> coalesce(sum(c.term_count), 0)
"""
WRONG_STATISTICS = """
WITH counted AS (
  SELECT index_id, term, count(*) AS passages FROM knowledge_lexical, unnest(terms) AS term GROUP BY 1, 2)
SELECT index_id, count(*) FROM knowledge_termstatistic s FULL JOIN counted USING (index_id, term)
 WHERE coalesce(s.document_frequency, 0) <> coalesce(counted.passages, 0) GROUP BY index_id
"""
WRONG_USE = """
SELECT w.id, coalesce(u.documents, 0), count(d.id) FROM accounts_workspace w
  LEFT JOIN knowledge_storageuse u ON u.workspace_id = w.id LEFT JOIN knowledge_document d ON d.workspace_id = w.id
 GROUP BY w.id, u.documents, u.bytes
HAVING coalesce(u.documents, 0) <> count(d.id) OR coalesce(u.bytes, 0) <> coalesce(sum(d.size), 0)
"""
FORGOTTEN = """
SELECT d.id, d.status FROM knowledge_document d WHERE d.status IN ('pending', 'processing') AND NOT EXISTS (
  SELECT FROM observability_job j
   WHERE j.subject_id = d.id AND j.kind = %s AND j.status IN ('pending', 'running'))
"""


def _rows(statement: str, *values: str) -> Iterator[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        yield from cursor.fetchall()


def documents() -> Iterator[str]:
    """A ready document has all of its passages once, of one generation, and nothing is left of its making."""
    for pk, told, found in _rows(WRONG_PASSAGES):
        yield f"document {pk} is ready with {found} passages, missing or twice, of {told}"
    for (pk,) in _rows(OTHER_INDEX):
        yield f"document {pk} has passages of an index that is not the active one"
    for pk, ordinal in _rows(NOT_IN_TEXT):
        yield f"document {pk}: passage {ordinal} does not stand in the text at its place"
    for pk, status in _rows(FORGOTTEN, INGEST_JOB):
        yield f"document {pk} is {status} and no job is under way for it"
    ready = StagedVector.objects.filter(document__status=DocumentStatus.READY)
    for pk in ready.values_list("document_id", flat=True).distinct():
        yield f"document {pk} is ready, and staged vectors are left of it"


def indexes() -> Iterator[str]:
    """Both search tables hold every passage once, and the statistics count what is there."""
    for table in ("knowledge_chunkvector", "knowledge_lexical"):
        for pk, ordinal in _rows(NOT_SEARCHED.format(table=table)):
            yield f"document {pk}: passage {ordinal} is missing in {table}"
    for pk, told, found, terms, counted in _rows(WRONG_COUNTS):
        yield f"index {pk} counts {told} passages and {terms} words; there are {found} and {counted}"
    for pk, count in _rows(WRONG_STATISTICS):
        yield f"index {pk} counts {count} words wrongly"
    for table in orphan_tables():
        yield f"table {table} belongs to an index that is gone"


def files() -> Iterator[str]:
    """Every document has its file, and every file older than a day its document; the quota counts what is there."""
    documents = Document._unscoped.order_by()
    known = dict(documents.values_list("storage_key", "size"))
    stored = {f"{path.parent.name}/{path.name}": path for path in storage.path_of("").glob("*/*")}
    for key, size in known.items():
        # A document that was deleted or replaced since the list was read may be without its file.
        if (key not in stored or _size(stored[key]) != size) and documents.filter(storage_key=key).exists():
            yield f"file {key} is missing, or not as large as its document says"
    for key in stored.keys() - known.keys():
        if _age(stored[key]) > YOUNG_SECONDS:
            yield f"file {key} belongs to no document"
    for pk, told, found in _rows(WRONG_USE):
        yield f"workspace {pk}: the quota counts {told} documents, or their bytes, wrongly; there are {found}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


CHECKS: dict[str, Callable[[], Iterator[str]]] = {"documents": documents, "indexes": indexes, "files": files}
