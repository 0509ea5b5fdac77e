"""`kill -9` of every process in the middle of an ingestion and of a stream, and the orderly end: nothing lost, nothing
done twice, nothing stuck."""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from celery import Celery

from magnet.tests.platform import wait_for
from magnet.tests.rig import Rig, Told, rig, text_of

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]

TOOL = "kills"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    variables = {"MAGNET_PLUGINS": "knowledge.tests.hostile_parser", "WORKER_CONCURRENCY": "2"}
    with rig(tmp_path_factory.mktemp("kills"), **variables) as made:
        for identifier, kind in (("embed-slow", "embedding"), ("slow", "chat")):
            made.made("POST", "models/", {"provider": "openai", "name": identifier, "slug": identifier,
                                          "identifier": identifier, "kind": kind})  # fmt: skip
        source = made.source(TOOL)
        made.tools(TOOL, source)
        made.put(source, "rules", text_of(0))
        made.settle()
        yield made


def slow_source(site: Rig, name: str) -> str:
    """A source whose model takes its time."""
    slug = f"{name}-{uuid.uuid4().hex[:6]}"
    chunking = {"max_tokens": 60, "overlap_tokens": 0}
    site.made("POST", "knowledge-sources/",
              {"name": name, "slug": slug, "embedding_model": "embed-slow", "chunking": chunking})  # fmt: skip
    return slug


def embedding_began(site: Rig, before: int) -> None:
    wait_for(lambda: len(site.provider.calls_of("embed-slow")) > before, 60)


def victims(site: Rig, part: str) -> list[int]:
    if part in ("postgres", "valkey"):
        return [site.platform.server_pid(part)]
    if part == "worker child":
        children = psutil.Process(site.platform.pid("worker")).children()
        return [child.pid for child in children]
    return [site.platform.pid(part)]


@pytest.mark.parametrize("part", ["worker child", "worker", "scheduler", "web", "postgres", "valkey"])
def test_killed_in_the_middle(site: Rig, part: str) -> None:
    source, key = slow_source(site, "killed"), uuid.uuid4().hex
    before = len(site.provider.calls_of("embed-slow"))
    accepted = [site.put(source, f"rules-{n}", text_of(n, 200)) for n in range(3)]
    told: list[Told] = []
    asking = threading.Thread(target=lambda: told.append(site.question(TOOL, key)))
    asking.start()
    embedding_began(site, before)

    for pid in victims(site, part):
        os.kill(pid, signal.SIGKILL)
    asking.join()
    site.settle()

    first = told[0]
    assert first.broken == (part == "web")
    again = site.question(TOOL, key)
    assert again.answer["status"] == "completed"
    assert again.replayed == (part != "web")
    for one in accepted:
        assert site.get(f"documents/{one['document_id']}/")["status"] == "ready"
    sent = [text for call in site.provider.calls_of("embed-slow")[before:] for text in call.body["input"]]
    assert len(sent) <= 1.3 * len(set(sent)) + 2 * 512
    jobs = [one["job_id"] for one in accepted]
    assert site.sql("SELECT DISTINCT attempts FROM observability_job WHERE id = ANY(%s::uuid[])", jobs) == [(1,)]
    site.check(exact=False)


def test_orderly_end_with_streams_and_ingestions_in_flight(site: Rig) -> None:
    source = slow_source(site, "ended")
    site.made("POST", f"rag-tools/{TOOL}/variants/", {"model": "slow"})
    site.made("POST", f"rag-tools/{TOOL}/variants/2/publish")
    before = len(site.provider.calls_of("embed-slow"))
    accepted = [site.put(source, f"rules-{n}", text_of(n, 200)) for n in range(5)]
    with ThreadPoolExecutor(20) as pool:
        streams = [pool.submit(site.question, TOOL) for _ in range(20)]
        embedding_began(site, before)
        wait_for(lambda: len(site.provider.calls_of("slow")) == 20, 60)
        seconds = site.platform.terminate()
        told = [stream.result() for stream in streams]

    assert seconds < 30
    assert site.platform.processes() == []
    for one in told:
        assert (one.status, one.broken) == (200, False)
        assert one.events[-1] == "run.cancelled"
        assert one.answer["finish_reason"] == "shutdown"
    site.start()
    site.settle()
    for one in accepted:
        assert site.get(f"documents/{one['document_id']}/")["status"] == "ready"
    jobs = [one["job_id"] for one in accepted]
    rows = site.sql("SELECT status, attempts, lost_leases FROM observability_job WHERE id = ANY(%s::uuid[])", jobs)
    assert rows == [("succeeded", 1, 0)] * 5
    site.made("POST", f"rag-tools/{TOOL}/variants/1/activate")
    site.check(exact=False)


def test_a_message_that_comes_five_times_at_once_has_one_effect(site: Rig) -> None:
    source = slow_source(site, "five")
    before = len(site.provider.calls_of("embed-slow"))
    accepted = site.put(source, "rules", text_of(1, 200))
    broker = Celery(broker=site.valkey.url)
    for moment in range(2):
        for _ in range(5):
            broker.send_task("knowledge.tasks.ingest_document", args=[accepted["job_id"]], queue="ingest")
        if moment == 0:
            embedding_began(site, before)
    site.settle()

    assert site.get(f"documents/{accepted['document_id']}/")["status"] == "ready"
    sent = [text for call in site.provider.calls_of("embed-slow")[before:] for text in call.body["input"]]
    assert len(sent) == len(set(sent))
    usage = "SELECT count(*), sum(input_tokens) FROM observability_usagerecord u JOIN observability_trace t"
    usage += " ON t.id = u.trace_id WHERE u.model_slug = 'embed-slow' AND u.created_at > %s"
    began = site.one("SELECT created_at FROM observability_job WHERE id = %s", accepted["job_id"])
    counted = sum(call.counted[0] for call in site.provider.calls_of("embed-slow")[before:])
    assert site.sql(usage, began) == [(1, counted)]
    site.check(exact=False)


@pytest.mark.parametrize("deed", ["segfault", "starve"])
def test_a_poisonous_document_fails_alone_and_can_be_tried_again(site: Rig, deed: str) -> None:
    source = site.source("poison")
    path = f"knowledge-sources/{source}/documents/"
    good = [site.put(source, f"good-{n}", text_of(n, 2))["document_id"] for n in range(10)]
    answer = site.ask("POST", path, files={"file": ("bad.hostile", deed.encode())})
    assert answer is not None
    assert answer.status_code == 202, answer.text
    bad = answer.json()
    good += [site.put(source, f"good-{n}", text_of(n, 2))["document_id"] for n in range(10, 20)]

    site.settle()

    assert {site.get(f"documents/{one}/")["status"] for one in good} == {"ready"}
    for _ in range(2):
        failed = site.get(f"documents/{bad['document_id']}/")
        assert (failed["status"], failed["attempts"]) == ("failed", 3)
        assert failed["reason"].endswith("Tried 3 times.")
        assert failed["reason_code"] in {"parser_crashed", "out_of_memory"}
        assert site.get(f"jobs/{bad['job_id']}/")["status"] == "failed"
        site.made("POST", f"documents/{bad['document_id']}/retry")
        assert site.get(f"documents/{bad['document_id']}/")["status"] in {"pending", "processing"}
        site.settle()


def test_a_deleted_queue_costs_nothing_but_time(site: Rig) -> None:
    """Messages that are gone, from a broker that was emptied, are published again by the sweeper."""
    source = site.source("emptied")
    os.kill(site.platform.pid("worker"), signal.SIGSTOP)
    try:
        accepted = [site.put(source, f"rules-{n}", text_of(n)) for n in range(5)]
        site.flush_broker()
    finally:
        os.kill(site.platform.pid("worker"), signal.SIGCONT)
    began = time.monotonic()

    wait_for(lambda: {site.get(f"documents/{one['document_id']}/")["status"] for one in accepted} == {"ready"}, 120)

    assert time.monotonic() - began < 120
    site.settle()
    site.check(exact=False)
