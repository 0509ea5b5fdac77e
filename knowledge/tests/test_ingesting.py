"""What becomes of a document: its passages, its vectors, its end."""

import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from core.faults import FaultInjected
from core.ids import uuid7
from knowledge import ingesting, tasks
from knowledge.choices import DocumentStatus
from knowledge.indexing import needs_reweighing
from knowledge.ingesting import document_ingest
from knowledge.models import Chunk, ChunkVector, Document, DocumentText, LexicalRow, StagedVector
from knowledge.retrieval.search import search_sync
from knowledge.services import document_delete, document_retry
from knowledge.tests.factories import index_of, query
from magnet.tests.scripted_answers import embed_text
from observability.choices import JobStatus
from observability.models import Job
from observability.services import job_cancel

pytestmark = pytest.mark.django_db

HANDBOOK = Path(__file__).parents[1] / "seeds" / "handbook"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LONG = "\n\n".join(f"## Rule {n}\n\nRule number {n} says {'very ' * 30}much about topic{n}." for n in range(40))


def run_again(job: Job) -> Job:
    """The next attempt, without its waiting time."""
    Job._unscoped.filter(pk=job.pk).update(available_at=timezone.now())
    document_ingest(job.pk)
    return Job._unscoped.get(pk=job.pk)


def texts_sent(scripted) -> list[str]:
    return [text for call in scripted.calls_of("embed") for text in call.body["input"]]


def whole(document: Document) -> list[tuple]:
    return list(document.chunks.order_by("ordinal").values_list("ordinal", "text", "char_start", "char_end"))


def test_a_document_becomes_passages_that_are_found(source_with, ingest):
    source = source_with()

    document = ingest(source, "Employees take thirty days of annual leave.", title="Leave")

    assert document.status == DocumentStatus.READY
    assert document.chunk_count == 1
    assert document.ready_at is not None
    assert Job._unscoped.get(subject_id=document.pk).status == JobStatus.SUCCEEDED
    found = search_sync(query([source], "annual leave", embed_text("annual leave")))
    assert [one.document_id for one in found] == [document.pk]
    assert found[0].title == "Leave"


def test_passages_are_slices_of_the_text(source_with, ingest):
    document = ingest(source_with(), io.BytesIO(LONG.encode()), filename="rules.md")

    text = DocumentText.objects.get(document=document).text
    chunks = list(document.chunks.order_by("ordinal"))
    assert len(chunks) == document.chunk_count > 5
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert all(text[chunk.char_start : chunk.char_end] == chunk.text for chunk in chunks)
    assert chunks[3].heading_path == ["Rule 3"]
    assert chunks[3].workspace_id == document.workspace_id


def test_title_and_headings_are_embedded_with_the_passage(source_with, ingest, scripted):
    ingest(source_with(), io.BytesIO(b"# Travel\n\nBook early."), filename="rules.md", title="Handbook")

    assert texts_sent(scripted) == ["Handbook › Travel\nTravel\n\nBook early."]


def test_the_files_own_title_is_shown_unless_one_was_given(source_with, ingest):
    source = source_with()
    page = b"<html><head><title>Leave rules</title></head><body><p>Thirty days.</p></body></html>"

    assert ingest(source, io.BytesIO(page), filename="a.html").title == "Leave rules"
    assert ingest(source, io.BytesIO(page), filename="b.html", title="Mine").title == "Mine"


def test_vectors_are_those_of_the_model(source_with, ingest, scripted):
    document = ingest(source_with(), "One passage.", title="T")

    row = ChunkVector.objects.get(chunk_id=document.chunks.get().pk)
    np.testing.assert_allclose(np.array(row.embedding), embed_text("T\nOne passage."), atol=1e-3)


@pytest.mark.parametrize("name", sorted(path.name for path in HANDBOOK.iterdir()))
def test_every_page_of_the_handbook_can_be_read(source_with, ingest, name):
    with (HANDBOOK / name).open("rb") as file:
        document = ingest(source_with(), file, filename=name)

    assert (document.status, document.reason) == (DocumentStatus.READY, "")
    assert document.chunk_count >= 1
    if name.endswith(".pdf"):
        assert document.chunks.order_by("ordinal").last().page >= 1


def test_running_it_twice_changes_nothing(source_with, upload, scripted):
    source = source_with()
    document, job = upload(source, LONG, title="Rules")
    document_ingest(job.pk)
    before, calls = whole(document), len(scripted.calls)
    index = index_of(source)

    document_ingest(job.pk)
    Job._unscoped.filter(pk=job.pk).update(status=JobStatus.PENDING)
    document_ingest(job.pk)

    assert whole(document) == before
    assert len(scripted.calls) == calls
    assert index_of(source).chunk_count == index.chunk_count == len(before)


def test_unchanged_passages_keep_their_vectors(source_with, ingest, scripted):
    source = source_with()
    ingest(source, LONG, title="Rules", external_id="rules")
    scripted.reset()

    changed = ingest(source, LONG.replace("topic7.", "something else."), title="Rules", external_id="rules")

    assert len(texts_sent(scripted)) == 1
    assert "something else" in texts_sent(scripted)[0]
    assert ChunkVector.objects.filter(chunk_id__in=changed.chunks.values("pk")).count() == changed.chunk_count
    assert Chunk._unscoped.filter(document=changed).count() == changed.chunk_count


def test_passages_that_say_the_same_are_embedded_once(source_with, ingest, scripted):
    same = "\n\n".join(["Nothing to see here. " * 40] * 4)

    document = ingest(source_with(), same, title="Same")

    assert document.chunk_count > len(set(texts_sent(scripted)))
    assert len(texts_sent(scripted)) == len(set(texts_sent(scripted)))
    assert LexicalRow.objects.filter(chunk_id__in=document.chunks.values("pk")).count() == document.chunk_count


@pytest.mark.parametrize("point", ["ingest.parsed", "ingest.batch_staged", "ingest.before_swap", "ingest.before_done"])
def test_an_attempt_that_breaks_is_followed_by_one_that_ends(source_with, upload, scripted, monkeypatch, point):
    source = source_with()
    document, job = upload(source, LONG, title="Rules")
    monkeypatch.setenv("MAGNET_FAULT", f"{point}=raise")
    from core import faults

    monkeypatch.setattr(faults, "_calls", faults.Counter())

    document_ingest(job.pk)
    between = Job._unscoped.get(pk=job.pk)
    ended = run_again(job)

    assert (between.status, between.attempts, between.reason_code) == (JobStatus.PENDING, 1, "internal_error")
    assert FaultInjected.__name__ in between.reason
    assert ended.status == JobStatus.SUCCEEDED
    document.refresh_from_db()
    assert document.status == DocumentStatus.READY
    assert document.chunks.count() == document.chunk_count == index_of(source).chunk_count
    assert len(texts_sent(scripted)) == len(set(texts_sent(scripted))) == document.chunk_count
    assert not StagedVector.objects.exists()


def test_the_old_content_answers_until_the_new_is_ready(source_with, upload, ingest, monkeypatch):
    source = source_with()
    old = ingest(source, "The old rule of leave.", title="Rules", external_id="rules")
    document, job = upload(source, "The new rule of leave.", title="Rules", external_id="rules")

    assert document.pk == old.pk
    assert document.status == DocumentStatus.PENDING
    assert [one.text for one in search_sync(query([source], "rule"))] == ["The old rule of leave."]
    monkeypatch.setattr(ingesting, "fault", lambda name: seen.append(search_sync(query([source], "rule"))[0].text))
    seen: list[str] = []
    document_ingest(job.pk)

    assert seen[0] == "The old rule of leave."
    assert seen[-1] == "The new rule of leave."
    assert [one.text for one in search_sync(query([source], "rule"))] == ["The new rule of leave."]


def test_a_newer_version_stops_the_older_one(source_with, upload):
    source = source_with()
    document, first = upload(source, "The first version.", external_id="rules")
    _, second = upload(source, "The second version.", external_id="rules")

    document_ingest(first.pk)
    document.refresh_from_db()
    assert document.status == DocumentStatus.PENDING
    document_ingest(second.pk)

    first.refresh_from_db()
    assert (first.status, first.reason_code) == (JobStatus.CANCELLED, "superseded")
    assert [chunk.text for chunk in document.chunks.all()] == ["The second version."]


def test_a_worker_that_was_overtaken_changes_nothing(source_with, upload, monkeypatch):
    source = source_with()
    document, job = upload(source, "The first version.", external_id="rules", title="Rules")

    def overtake(name: str) -> None:
        if name == "ingest.before_swap" and not done:
            done.append(upload(source, "The second version.", external_id="rules", title="Rules")[1])

    done: list[Job] = []
    monkeypatch.setattr(ingesting, "fault", overtake)
    document_ingest(job.pk)

    document.refresh_from_db()
    assert document.status == DocumentStatus.PENDING
    assert document.chunks.count() == 0
    document_ingest(done[0].pk)
    assert [chunk.text for chunk in document.chunks.all()] == ["The second version."]


def test_a_document_that_is_deleted_under_way_leaves_nothing(
    source_with, upload, principal, monkeypatch, django_capture_on_commit_callbacks, storage_dir
):
    source = source_with()
    document, job = upload(source, LONG)

    def delete(name: str) -> None:
        if name == "ingest.before_swap":
            with django_capture_on_commit_callbacks(execute=True):
                document_delete(document, principal=principal)

    monkeypatch.setattr(ingesting, "fault", delete)
    document_ingest(job.pk)

    job.refresh_from_db()
    assert (job.status, job.reason_code) == (JobStatus.CANCELLED, "deleted")
    assert not Chunk._unscoped.exists()
    assert not StagedVector.objects.exists()
    assert [path for path in storage_dir.rglob("*") if path.is_file()] == []


def test_a_provider_that_is_down_is_tried_three_times(source_with, upload):
    source = source_with("embed-never")
    document, job = upload(source, "Text.", title="T")

    document_ingest(job.pk)
    first = Job._unscoped.get(pk=job.pk)
    run_again(job)
    ended = run_again(job)

    assert first.status == JobStatus.PENDING
    assert first.available_at > timezone.now() + timedelta(seconds=3) or first.attempts == 1
    assert (ended.status, ended.attempts) == (JobStatus.FAILED, 3)
    document.refresh_from_db()
    assert document.status == DocumentStatus.FAILED
    assert document.attempts == 3
    assert document.reason == ended.reason
    assert "Tried 3 times" in document.reason
    assert "this input is refused" not in document.reason


@pytest.mark.parametrize("identifier", ["embed-nan", "embed-zero", "embed-ragged"])
def test_vectors_that_are_none_fail_the_document(source_with, upload, identifier):
    source = source_with(identifier)
    document, job = upload(source, LONG, title="T")
    for _ in range(3):
        run_again(job)

    document.refresh_from_db()
    assert document.status == DocumentStatus.FAILED
    assert not Chunk._unscoped.exists()
    assert not ChunkVector.objects.exists()


def test_vectors_of_another_size_are_refused_with_both_numbers(source_with, ingest, upload):
    source = source_with()
    ingest(source, "The first document.", title="A")
    size = index_of(source).dimensions
    model = source.embedding_model
    model.identifier = "embed-wrong-size"
    model.save()

    document, job = upload(source, "The second document.", title="B")
    document_ingest(job.pk)

    document.refresh_from_db()
    assert document.status == DocumentStatus.FAILED
    assert document.reason_code == "wrong_dimensions"
    assert str(size) in document.reason
    assert str(2 * size) in document.reason
    assert [one.title for one in search_sync(query([source], "document"))] == ["A"]


@pytest.mark.parametrize(
    "content,filename,code",
    [
        (b"   \n\n \t", "blank.txt", "no_text"),
        (b"%PDF-1.7 and nothing that follows it", "broken.pdf", "damaged"),
        (b"PK\x03\x04 no archive", "broken.docx", "damaged"),
        (OLE + b"\0" * 504 + "EncryptedPackage".encode("utf-16-le"), "locked.docx", "encrypted"),
    ],
)
def test_what_cannot_be_read_fails_at_once_with_its_reason(source_with, upload, content, filename, code):
    document, job = upload(source_with(), io.BytesIO(content), filename=filename)
    document_ingest(job.pk)

    document.refresh_from_db()
    assert document.status == DocumentStatus.FAILED
    assert document.attempts == 1
    assert document.reason
    assert document.reason_code == code


def test_a_failed_document_can_be_retried(source_with, upload, principal):
    source = source_with("embed-never")
    document, job = upload(source, "Text.", title="T")
    for _ in range(3):
        run_again(job)
    model = source.embedding_model
    model.identifier = "embed"
    model.save()

    document, again = document_retry(document, principal=principal)
    assert (document.status, document.reason, document.attempts) == (DocumentStatus.PENDING, "", 0)
    document_ingest(again.pk)

    document.refresh_from_db()
    assert document.status == DocumentStatus.READY
    assert document.attempts == 1


def test_cancelling_the_job_says_so_on_the_document(source_with, upload, principal):
    document, job = upload(source_with(), "Text.")

    job_cancel(job, principal=principal)
    document_ingest(job.pk)

    document.refresh_from_db()
    assert (document.status, document.reason_code) == (DocumentStatus.FAILED, "cancelled")


def test_deleting_takes_all_of_it_away(source_with, ingest, principal, django_capture_on_commit_callbacks, storage_dir):
    source = source_with()
    kept = ingest(source, "Stays here for ever.", title="Kept")
    document = ingest(source, LONG, title="Rules")

    with django_capture_on_commit_callbacks(execute=True):
        document_delete(document, principal=principal)

    assert [one.document_id for one in search_sync(query([source], "rule stays"))] == [kept.pk]
    assert ChunkVector.objects.count() == LexicalRow.objects.count() == Chunk._unscoped.count() == 1
    assert index_of(source).chunk_count == 1
    assert len([path for path in storage_dir.rglob("*") if path.is_file()]) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(document_frequency) FROM knowledge_termstatistic")
        assert cursor.fetchone()[0] == len(LexicalRow.objects.get().terms)


@pytest.mark.django_db(transaction=True)
def test_a_large_index_gets_its_approximate_index_as_one_job(source_with, upload, settings):
    settings.VECTOR_DB = {**settings.VECTOR_DB, "exact_below": 3}
    source = source_with()
    for text in (LONG, "One more."):
        document_ingest(upload(source, text)[1].pk)
    (job,) = Job._unscoped.filter(kind="build_vector_index")
    assert not index_of(source).has_ann

    tasks.build_vector_index(str(job.pk))

    job.refresh_from_db()
    assert (job.status, job.subject_id) == ("succeeded", source.active_index_id)
    assert index_of(source).has_ann
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%%USING hnsw%%' AND tablename LIKE %s",
            [f"%{index_of(source).pk.hex}%"],
        )
        assert cursor.fetchone()[0] == 1


def test_a_mean_length_that_moved_asks_for_new_weights(source_with, upload):
    source = source_with()
    for text in ("Short text.", "word " * 150):
        document_ingest(upload(source, text)[1].pk)

    (job,) = Job._unscoped.filter(kind="reweigh_index", subject_id=source.active_index_id)
    assert needs_reweighing(index_of(source))

    tasks.reweigh_index(str(job.pk))

    assert not needs_reweighing(index_of(source))


def test_work_for_an_index_that_is_gone_fails_with_a_reason(source_with, upload, settings, principal):
    settings.VECTOR_DB = {**settings.VECTOR_DB, "exact_below": 3}
    source = source_with()
    document_ingest(upload(source, LONG)[1].pk)
    job = Job._unscoped.get(kind="build_vector_index")
    Job._unscoped.filter(pk=job.pk).update(subject_id=uuid7())

    tasks.build_vector_index(str(job.pk))

    job.refresh_from_db()
    assert (job.status, job.reason) == ("failed", "The index was deleted before its turn.")
