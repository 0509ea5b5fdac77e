"""`manage.py check_integrity` finds each thing that can go wrong, and nothing on rows that fit together."""

import json
import os
import time
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts.tests.factories import WorkspaceFactory
from core import integrity
from knowledge import storage
from llm.models import Provider
from observability.tests.factories import JobFactory, RunFactory

LONG_AGO = timezone.now() - timedelta(hours=1)
TEXT = "\n\n".join(f"# Rule {n}\n\nIt says {'very ' * 60}much." for n in range(3))

# What is broken, by SQL, and what the command says of it.
BREAKS = {
    "UPDATE knowledge_document SET chunk_count = chunk_count + 1": "documents: document {document} is ready with",
    "UPDATE knowledge_chunk SET ordinal = 7 WHERE ordinal = 1": "documents: document {document} is ready with",
    "UPDATE knowledge_chunk SET char_start = 1 WHERE ordinal = 0": "documents: document {document}: passage 0 does not",
    "UPDATE knowledge_documenttext SET text = 'x' || text": "documents: document {document}: passage 0 does not",
    "UPDATE knowledge_document SET status = 'processing'": "documents: document {document} is processing and no job",
    "DELETE FROM knowledge_chunkvector": "indexes: document {document}: passage 0 is missing in knowledge_chunkvector",
    "DELETE FROM knowledge_lexical": "indexes: document {document}: passage 0 is missing in knowledge_lexical",
    "UPDATE knowledge_embeddingindex SET term_count = 1": "indexes: index {index} counts",
    "UPDATE knowledge_termstatistic SET document_frequency = 9": "indexes: index {index} counts",
    "UPDATE knowledge_storageuse SET documents = 9": "files: workspace {workspace}: the quota counts 9 documents",
    "UPDATE knowledge_document SET size = 1": "files: file {file} is missing, or not as large",
    "UPDATE knowledge_document SET storage_key = 'aa/gone'": "files: file aa/gone is missing",
    "UPDATE knowledge_chunk SET workspace_id = '{other}'": "workspaces: knowledge.Chunk",
    "UPDATE llm_provider SET api_key = 'sk-clear'": "secrets: llm.Provider {provider} api_key holds clear text",
    "UPDATE llm_provider SET api_key = 'enc1:lost:' || api_key": "secrets: llm.Provider {provider} api_key opens with",
    "UPDATE observability_job SET status = 'running'": "jobs: job {job} (Ingest Rules) runs without a lease",
}


@pytest.fixture
def document(source_with, ingest):
    return ingest(source_with("embed", chunking={"max_tokens": 50}), TEXT, title="Rules")


def lines(capsys) -> list[str]:
    """What the command prints, which says by its exit code whether something is wrong."""
    capsys.readouterr()
    try:
        call_command("check_integrity", "--json")
        code = 0
    except SystemExit as ended:
        code = int(str(ended.code))
    report = json.loads(capsys.readouterr().out)
    assert (code, report["ok"]) == ((1, False) if report["wrong"] else (0, True))
    return report["wrong"]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", BREAKS)
def test_what_is_broken_is_named(document, capsys, statement):
    names = {
        "document": document.pk,
        "index": document.source.active_index_id,
        "workspace": document.workspace_id,
        "file": document.storage_key,
        "other": WorkspaceFactory().pk,
        "provider": Provider.objects.for_workspace(document.workspace_id).get().pk,
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM observability_job")
        names["job"] = cursor.fetchone()[0]
        assert lines(capsys) == []
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(statement.format(**names) if "{" in statement else statement)

    found = lines(capsys)

    assert any(line.startswith(BREAKS[statement].format(**names)) for line in found), found


@pytest.mark.django_db
def test_an_old_file_without_a_document_is_named_and_a_young_one_is_not(document, capsys):
    old, _young = storage.store(iter([b"old"])), storage.store(iter([b"young"]))
    long_ago = time.time() - 25 * 3600
    os.utime(old.path, (long_ago, long_ago))

    assert lines(capsys) == [f"files: file {old.key} belongs to no document"]


@pytest.mark.django_db
def test_jobs_and_runs_that_nobody_holds_are_named(capsys):
    JobFactory(status="pending", available_at=LONG_AGO, published_at=LONG_AGO, queue="sync")
    run = RunFactory(lease_expires_at=LONG_AGO)
    ended = RunFactory(status="completed", answer={})

    assert lines(capsys) == [
        "jobs: 1 jobs of the queue sync wait without a message",
        f"runs: run {run.pk} runs without a lease",
        f"runs: run {ended.pk} ended with 0 terminal events, or events behind its end",
    ]


@pytest.mark.django_db
def test_people_read_a_line_for_each_thing_that_is_wrong(document, capsys):
    type(document)._base_manager.filter(pk=document.pk).update(chunk_count=99)

    with pytest.raises(SystemExit) as ended:
        call_command("check_integrity")

    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"documents: document {document.pk} is ready with")
    assert ended.value.code == 1


@pytest.mark.django_db
def test_people_read_one_line_and_a_database_that_is_away_is_another(capsys, monkeypatch):
    call_command("check_integrity")
    said = capsys.readouterr().out

    def away():
        from django.db import OperationalError

        raise OperationalError

    monkeypatch.setitem(integrity.INTEGRITY_CHECKS._items, "jobs", away)
    with pytest.raises(CommandError, match="The database does not answer") as refused:
        call_command("check_integrity")

    assert said == "All is well: documents, files, indexes, jobs, runs, schedules, secrets, workspaces.\n"
    assert refused.value.returncode == 2
