"""Recurring work on what ingestion leaves behind."""

import os
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from knowledge import storage
from knowledge.models import Document, StagedVector
from knowledge.recurring import WORK
from knowledge.retrieval.tables import VECTORS, create_partitions, drop_partitions, partition
from knowledge.tests.factories import DocumentFactory, SourceFactory

pytestmark = pytest.mark.django_db


def staged(document: Document, days: int) -> StagedVector:
    row = StagedVector.objects.create(
        document=document, index=document.source.active_index, text_hash=str(days), vector=b"1234"
    )
    StagedVector.objects.filter(pk=row.pk).update(created_at=timezone.now() - timedelta(days=days))
    return row


@pytest.fixture
def source():
    return SourceFactory()


def test_staged_vectors_of_dead_ingestions_go_after_a_week(source):
    failed, working = (
        DocumentFactory(source=source, status="failed"),
        DocumentFactory(source=source, status="processing"),
    )
    staged(failed, 8)
    kept = [staged(failed, 6), staged(working, 8)]

    assert WORK["staged-vectors"].work() == 1
    assert set(StagedVector.objects.all()) == set(kept)


def test_only_old_files_that_no_document_names_go(source):
    files = [storage.store(iter([b"text"])) for _ in range(3)]
    orphan, named, _young = files
    DocumentFactory(source=source, storage_key=named.key)
    long_ago = time.time() - 25 * 3600
    for file in (orphan, named):
        os.utime(file.path, (long_ago, long_ago))

    assert WORK["orphan-files"].work() == 1
    assert [file.path.exists() for file in files] == [False, True, True]


def test_an_empty_store_has_no_orphans():
    assert WORK["orphan-files"].work() == 0


@pytest.mark.django_db(transaction=True)
def test_tables_of_indexes_that_are_gone_are_dropped(source):
    index = source.active_index
    create_partitions(index.pk, 8)
    create_partitions(uuid.uuid4(), 8)

    assert WORK["orphan-tables"].work() == 2
    assert WORK["orphan-tables"].work() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [partition(VECTORS, index.pk)])
        assert cursor.fetchone() == (True,)
    drop_partitions(index.pk)
