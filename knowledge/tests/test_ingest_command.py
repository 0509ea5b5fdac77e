import json
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from knowledge.ingesting import document_ingest
from knowledge.management.commands import ingest as command
from knowledge.models import Document
from observability.choices import JobStatus
from observability.models import Job


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "papers"
    (root / "rules").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "rules" / "leave.md").write_text("# Leave\n\nEverybody has 30 days of leave.")
    (root / "tea.txt").write_text("Tea is served at four.")
    (root / "sound.mp3").write_bytes(b"ID3\x04\x00\x00\x00\x00\x00\x00")
    (root / ".git" / "config.txt").write_text("hidden")
    return root


@pytest.fixture
def run(membership, capsys):
    def call(*arguments: str) -> str:
        call_command("ingest", *arguments, "--workspace", membership.workspace.slug, "--user", membership.user.email)
        return capsys.readouterr().out

    return call


@pytest.mark.django_db
def test_files_and_folders_come_in_and_what_is_refused_says_why(run, source_with, folder):
    source = source_with()

    told = json.loads(run(str(folder), "--source", source.slug, "--json"))

    by_file = {one["file"].rpartition("/")[2]: one for one in told["documents"]}
    assert told["counts"] == {"pending": 2, "skipped": 1}
    assert "Supported" in by_file["sound.mp3"]["reason"] or "supported" in by_file["sound.mp3"]["reason"]
    assert sorted(Document._unscoped.values_list("external_id", flat=True)) == ["rules/leave.md", "tea.txt"]


@pytest.mark.django_db
def test_two_files_of_one_name_do_not_replace_each_other(run, source_with, folder):
    source = source_with()
    (folder / "rules" / "tea.txt").write_text("Tea is served at five.")

    told = json.loads(
        run(str(folder), str(folder / "rules"), str(folder / "tea.txt"), "--source", source.slug, "--json")
    )

    # `rules` once more gives leave.md and tea.txt without their folder: the second would replace the first tea.txt.
    refused = [one for one in told["documents"] if "would replace" in one["reason"]]
    assert [one["file"] for one in refused] == [str(folder / "rules" / "tea.txt")]
    assert Document._unscoped.get(external_id="tea.txt").size == (folder / "tea.txt").stat().st_size


@pytest.mark.django_db
def test_what_has_not_changed_is_not_read_again(run, source_with, folder):
    source = source_with()
    run(str(folder), "--source", source.slug)
    for job in Job._unscoped.all():
        document_ingest(job.pk)
    (folder / "tea.txt").write_text("Tea is served at five.")

    told = json.loads(run(str(folder / "rules"), str(folder / "tea.txt"), "--source", source.slug, "--json"))

    assert told["counts"] == {"pending": 2}
    again = json.loads(run(str(folder), "--source", source.slug, "--json"))
    assert again["counts"]["unchanged"] == 1


@pytest.mark.django_db(transaction=True)
def test_wait_follows_every_document_to_its_end(run, source_with, folder, monkeypatch):
    source = source_with()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing more")
    monkeypatch.setattr(command, "POLL_SECONDS", 0.05)

    def work() -> None:
        until = time.monotonic() + 30
        done = 0
        while done < 3 and time.monotonic() < until:
            for job in Job._unscoped.filter(status=JobStatus.PENDING):
                document_ingest(job.pk)
                done += 1
            time.sleep(0.05)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    with pytest.raises(CommandError, match="Some documents failed; the reasons stand above"):
        run(str(folder), "--source", source.slug, "--wait")
    worker.join()

    assert sorted(Document._unscoped.values_list("status", flat=True)) == ["failed", "ready", "ready"]


@pytest.mark.django_db
def test_waiting_without_a_worker_ends_and_says_so(run, source_with, folder, monkeypatch):
    monkeypatch.setattr(command, "STALLED_SECONDS", 0)
    monkeypatch.setattr(command, "POLL_SECONDS", 0.01)

    with pytest.raises(CommandError, match="2 documents wait and nothing moves: is a worker running"):
        run(str(folder), "--source", source_with().slug, "--wait")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("nowhere", "", "There is no file or folder"),
        (".", "nothing", "There is no knowledge source 'nothing'"),
    ],
)
def test_what_is_wrong_is_one_line(run, source_with, folder, path, source, reason):
    known = source_with().slug

    with pytest.raises(CommandError) as refused:
        run(str(folder / path), "--source", source or known)

    assert str(refused.value).startswith(reason)
    assert Document._unscoped.count() == 0


@pytest.mark.django_db
def test_an_empty_folder_is_an_error(run, source_with, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(CommandError, match="No file was found"):
        run(str(empty), "--source", source_with().slug)
