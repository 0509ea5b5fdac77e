"""The partitioned tables of vectors and lexical rows (see knowledge/retrieval/tables.py)."""

import django.contrib.postgres.fields
import pgvector.django
from django.db import migrations, models

CREATE = """
CREATE TABLE knowledge_chunkvector (
    index_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (index_id, chunk_id),
    -- With the partition key in it, a deleted passage is looked for in one partition and not in all.
    FOREIGN KEY (index_id, chunk_id) REFERENCES knowledge_chunk (index_id, id) ON DELETE CASCADE
) PARTITION BY LIST (index_id);

CREATE TABLE knowledge_lexical (
    index_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    terms integer[] NOT NULL,
    weights sparsevec NOT NULL,
    PRIMARY KEY (index_id, chunk_id),
    FOREIGN KEY (index_id, chunk_id) REFERENCES knowledge_chunk (index_id, id) ON DELETE CASCADE
) PARTITION BY LIST (index_id);
"""
DROP = "DROP TABLE IF EXISTS knowledge_chunkvector; DROP TABLE IF EXISTS knowledge_lexical;"


STATE = [
    migrations.CreateModel(
        name="ChunkVector",
        fields=[
            ("pk", models.CompositePrimaryKey("index_id", "chunk_id", blank=True, editable=False, primary_key=True, serialize=False)),
            ("index_id", models.UUIDField()),
            ("chunk_id", models.UUIDField()),
            ("embedding", pgvector.django.halfvec.HalfVectorField()),
        ],
    ),
    migrations.CreateModel(
        name="LexicalRow",
        fields=[
            ("pk", models.CompositePrimaryKey("index_id", "chunk_id", blank=True, editable=False, primary_key=True, serialize=False)),
            ("index_id", models.UUIDField()),
            ("chunk_id", models.UUIDField()),
            ("terms", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
            ("weights", pgvector.django.sparsevec.SparseVectorField()),
        ],
        options={"db_table": "knowledge_lexical"},
    ),
]


class Migration(migrations.Migration):
    dependencies = [("knowledge", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE, DROP)], state_operations=STATE
        )
    ]
