from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Built while people write; so it cannot stand in a transaction."""

    atomic = False

    dependencies = [
        ('knowledge', '0002_search_tables'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='document',
            index=models.Index(fields=['storage_key'], name='knowledge_document_by_file'),
        ),
    ]
