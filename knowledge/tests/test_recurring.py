"""Recurring work on what ingestion leaves behind."""

import os
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from knowledge import storage
from knowledge.models import Document, StagedVector
from knowledge.recurring import WORK
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
