"""Recurring work on what ingestion leaves behind."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from core.schedules import Recurring, delete_in_batches
from knowledge import storage
from knowledge.choices import DocumentStatus
from knowledge.models import Document, StagedVector
from knowledge.retrieval.tables import drop_orphan_tables

# So long a document that failed may be tried again without embedding anything twice.
STAGED_DAYS = 7
# A file is stored before the row that names it: a younger one may belong to an upload that has not ended.
YOUNG_SECONDS = 24 * 3600
IN_WORK = (DocumentStatus.PENDING, DocumentStatus.PROCESSING)


def remove_staged_vectors() -> int:
    """Vectors of documents that nobody works on any more."""
    long_ago = timezone.now() - timedelta(days=STAGED_DAYS)
    return delete_in_batches(StagedVector.objects.filter(created_at__lt=long_ago).exclude(document__status__in=IN_WORK))


def remove_orphan_files() -> int:
    """Files that no document names, left by a process that died between storing a file and saving its row."""
    removed = 0
    for folder in sorted(storage.path_of("").glob("*/")):
        keys = set(_old_keys(folder))
        known = set(Document._unscoped.filter(storage_key__in=keys).values_list("storage_key", flat=True))
        storage.remove_all(keys - known)
        removed += len(keys - known)
    return removed


def _old_keys(folder: Path) -> Iterator[str]:
    oldest = time.time() - YOUNG_SECONDS
    for path in folder.iterdir():
        if path.is_file() and path.stat().st_mtime < oldest:
            yield f"{folder.name}/{path.name}"


WORK = {
    "staged-vectors": Recurring(
        title=_("Remove staged vectors"),
        text=_("Vectors that were computed for documents whose ingestion ended without them, a week ago or more."),
        cron="57 3 * * *",
        unit=_("vectors"),
        work=remove_staged_vectors,
    ),
    "orphan-files": Recurring(
        title=_("Remove orphan files"),
        text=_("Stored files, older than a day, that no document names."),
        cron="7 4 * * *",
        unit=_("files"),
        work=remove_orphan_files,
    ),
    "orphan-tables": Recurring(
        title=_("Drop orphan tables"),
        text=_("Search tables of sources that were deleted by a process that died before it dropped them."),
        cron="17 4 * * *",
        unit=_("tables"),
        work=drop_orphan_tables,
    ),
}
