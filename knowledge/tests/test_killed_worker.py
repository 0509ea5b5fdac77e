"""`kill -9` in the middle of an ingestion: with no hand on it every document is ready exactly once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from knowledge.choices import DocumentStatus
from knowledge.models import Chunk, ChunkVector, Document, LexicalRow, StagedVector
from knowledge.tests.factories import index_of
from magnet.environment import BASE_DIR
from observability.choices import JobStatus
from observability.models import Job, UsageRecord
from observability.sweeper import sweep

PASSAGES = 30
BATCH = 3
LEASE = "2"


def text(name: str) -> str:
    return "\n\n".join(f"# {name} {n}\n\nRule {n} of {name} says {'very ' * 120}much." for n in range(PASSAGES))


def database_url() -> str:
    known = connection.settings_dict
    return f"postgresql://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


@contextmanager
def worker(scripted, storage_dir, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with its pool; whatever is left of it is killed at the end."""
    environment = {
        **os.environ,
        "MAGNET_ENV": "test",
        "DATABASE_URL": database_url(),
        "REDIS_URL": settings.REDIS_URL,
        "OUTBOUND_ALLOW": f"provider={scripted.endpoint}",
        "TEST_LEASE": LEASE,
        "TEST_STORAGE": str(storage_dir),
        "TEST_BATCH": str(BATCH),
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "knowledge.tests.worker"], cwd=BASE_DIR, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        sweep()
        time.sleep(0.1)


@pytest.mark.timeout(400)
@pytest.mark.django_db(transaction=True)
def test_every_document_is_ready_exactly_once(scripted, source_with, upload, ingest, storage_dir):
    undisturbed = source_with("embed", slug="undisturbed")
    wanted = [
        list(ingest(undisturbed, text(name), filename=f"{name}.md").chunks.values_list("ordinal", "text"))
        for name in ("a", "b", "c")
    ]
    source = source_with("embed-slow")
    documents = [upload(source, text(name), filename=f"{name}.md")[0] for name in ("a", "b", "c")]

    for calls in (4, 14):
        with worker(scripted, storage_dir) as process:
            wait_until(lambda calls=calls: len(scripted.calls_of("embed-slow")) >= calls)
            kill(process)
    with worker(scripted, storage_dir):
        wait_until(lambda: not Document._unscoped.exclude(status=DocumentStatus.READY).exists())
        wait_until(lambda: not Job._unscoped.exclude(status=JobStatus.SUCCEEDED).exists())

    got = [list(Chunk._unscoped.filter(document=one).values_list("ordinal", "text")) for one in documents]
    assert got == wanted
    count = sum(map(len, wanted))
    assert index_of(source).chunk_count == count
    for rows in (ChunkVector, LexicalRow):
        assert rows.objects.filter(index_id=source.active_index_id).count() == count
    assert not StagedVector.objects.exists()
    sent = Counter(one for call in scripted.calls_of("embed-slow") for one in call.body["input"])
    assert sum(sent.values()) <= 1.3 * count
    jobs = Job._unscoped.filter(subject_id__in=[one.pk for one in documents])
    assert sum(job.lost_leases for job in jobs) >= 2
    assert {job.attempts for job in jobs} == {1}


@pytest.mark.exhaustive
@pytest.mark.timeout(400)
@pytest.mark.django_db(transaction=True)
def test_a_task_that_outlasts_its_message_has_one_effect_and_one_bill(
    scripted, source_with, upload, storage_dir, tmp_path
):
    """The broker hands a message out again that was not acknowledged in time; the job's lease says that it is held."""
    begun = tmp_path / "begun"
    source = source_with("embed-slow")
    document, job = upload(source, "\n\n".join(text(f"rule{n}") for n in range(6)), filename="long.md")

    with worker(scripted, storage_dir, TEST_VISIBILITY="2", TEST_BATCH="2", TEST_BEGUN=str(begun)):
        wait_until(lambda: Job._unscoped.filter(pk=job.pk, status=JobStatus.SUCCEEDED).exists(), 300)

    assert len(begun.read_text().splitlines()) > 1
    sent = [one for call in scripted.calls_of("embed-slow") for one in call.body["input"]]
    assert len(sent) == len(set(sent)) == Chunk._unscoped.filter(document=document).count()
    usage = UsageRecord._unscoped.filter(model_identifier="embed-slow")
    assert sum(usage.values_list("input_tokens", flat=True)) == sum(
        call.counted[0] for call in scripted.calls_of("embed-slow")
    )
    job.refresh_from_db()
    assert (job.attempts, job.lost_leases) == (1, 0)
