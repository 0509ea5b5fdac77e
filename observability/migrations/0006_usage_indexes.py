from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Beside the work: runs and usage are written all the time."""

    atomic = False

    dependencies = [
        ("observability", "0005_usage_rollups"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('capture', 'none'), ('emptied_at__isnull', True)), fields=['finished_at'], name='observability_run_to_empty'),
        ),
        AddIndexConcurrently(
            model_name='usagerecord',
            index=models.Index(condition=models.Q(('rolled_up', False)), fields=['workspace', 'created_at'], name='observability_usage_tail'),
        ),
    ]
