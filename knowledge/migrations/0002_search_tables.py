"""The partitioned tables of vectors and lexical rows (see knowledge/retrieval/tables.py)."""

from django.db import migrations

CREATE = """
CREATE TABLE knowledge_chunkvector (
    index_id uuid NOT NULL,
    chunk_id uuid NOT NULL REFERENCES knowledge_chunk (id) ON DELETE CASCADE,
    embedding halfvec NOT NULL,
    PRIMARY KEY (index_id, chunk_id)
) PARTITION BY LIST (index_id);
CREATE INDEX knowledge_chunkvector_chunk ON knowledge_chunkvector (chunk_id);

CREATE TABLE knowledge_lexical (
    index_id uuid NOT NULL,
    chunk_id uuid NOT NULL REFERENCES knowledge_chunk (id) ON DELETE CASCADE,
    terms integer[] NOT NULL,
    weights sparsevec NOT NULL,
    PRIMARY KEY (index_id, chunk_id)
) PARTITION BY LIST (index_id);
CREATE INDEX knowledge_lexical_chunk ON knowledge_lexical (chunk_id);
"""
DROP = "DROP TABLE IF EXISTS knowledge_chunkvector; DROP TABLE IF EXISTS knowledge_lexical;"


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, DROP)]
