"""The two tables that searches read, partitioned by embedding index.

`knowledge_chunkvector (index_id, chunk_id, embedding halfvec)` and `knowledge_lexical (index_id, chunk_id, terms int[],
weights sparsevec)`. Each index has a partition of its own in both: it is dropped in milliseconds, an approximate index
stands on one model's vectors alone, and a generic plan still prunes.
"""

import uuid

from django.conf import settings
from django.db import connection
from psycopg import sql

from core.faults import fault

VECTORS = "knowledge_chunkvector"
LEXICAL = "knowledge_lexical"
ORPHANS = """
SELECT child.relname FROM pg_inherits
  JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
 WHERE parent.relname = ANY(%s) AND NOT EXISTS (
   SELECT FROM knowledge_embeddingindex i WHERE replace(i.id::text, '-', '') = right(child.relname, 32))
"""


def partition(table: str, index_id: uuid.UUID) -> str:
    return f"{table}_{index_id.hex}"


def create_partitions(index_id: uuid.UUID, dimensions: int) -> None:
    """Make both partitions of an index; one that exists stays. A vector of another size is refused by a CHECK."""
    vectors, lexical = partition(VECTORS, index_id), partition(LEXICAL, index_id)
    identifier = sql.Literal(str(index_id))
    statements = [
        sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES IN ({})").format(
            sql.Identifier(child), sql.Identifier(parent), identifier
        )
        for child, parent in ((vectors, VECTORS), (lexical, LEXICAL))
    ]
    check = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK (vector_dims(embedding) = {})").format(
        sql.Identifier(vectors), sql.Identifier("dimensions"), sql.Literal(dimensions)
    )
    terms = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin (terms) WITH (fastupdate = off)").format(
        sql.Identifier(f"kl_{index_id.hex}_terms"), sql.Identifier(lexical)
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [vectors])
        if cursor.fetchone()[0]:
            return
        for statement in (*statements, check, terms):
            cursor.execute(statement)


def drop_partitions(index_id: uuid.UUID) -> None:
    """Drop both partitions of an index."""
    fault("source.before_tables_dropped")
    with connection.cursor() as cursor:
        for table in (VECTORS, LEXICAL):
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(partition(table, index_id))))


def orphan_tables() -> list[str]:
    """Partitions whose index is gone: left by a process that died between a commit and its drop."""
    with connection.cursor() as cursor:
        cursor.execute(ORPHANS, [[VECTORS, LEXICAL]])
        return [name for (name,) in cursor.fetchall()]


def drop_orphan_tables() -> int:
    """Drop them; returns how many there were."""
    names = orphan_tables()
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
    return len(names)


def build_ann(index_id: uuid.UUID, dimensions: int) -> None:
    """Build the approximate (HNSW) index of a partition without blocking writers. Not inside a transaction."""
    name = f"kv_{index_id.hex}_hnsw"
    with connection.cursor() as cursor:
        # An earlier build that was killed leaves an invalid index under the same name.
        cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name)))
        cursor.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON {} USING hnsw ((embedding::halfvec({})) halfvec_cosine_ops) "
                "WITH (m = {}, ef_construction = {})"
            ).format(
                sql.Identifier(name),
                sql.Identifier(partition(VECTORS, index_id)),
                sql.Literal(dimensions),
                sql.Literal(settings.VECTOR_DB["m"]),
                sql.Literal(settings.VECTOR_DB["ef_construction"]),
            )
        )
