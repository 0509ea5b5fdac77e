"""Parts that are away for a while, on servers that are not ours to start: what goes on, what says so, what comes back.

Leases last as long as in life here, so that an outage of half a minute is shorter than they are, as it is there.
"""

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.valkey import EmbeddedValkey
from magnet.tests.platform import wait_for
from magnet.tests.rig import Rig, rig, text_of

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(420)]

TOOL = "outages"
OUTAGE_SECONDS = 30
RECOVERY_SECONDS = 10
PATIENCE = 20.0  # within which even a request that cannot be served is answered, on a machine that is busy otherwise


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two web processes on a PostgreSQL and a Valkey of somebody else."""
    elsewhere = DataDir(tmp_path_factory.mktemp("elsewhere")).prepare()
    postgres, valkey = EmbeddedPostgres(elsewhere), EmbeddedValkey(elsewhere)
    variables = {"DATABASE_URL": postgres.acquire(), "REDIS_URL": valkey.acquire()}
    more = {"WEB_WORKERS": "2", "TEST_HASTE": "1", "OPENAI_CHAT_MODEL": "slow", "VECTOR_DB_CONFIG": ""}
    try:
        with rig(tmp_path_factory.mktemp("outages"), servers=(postgres, valkey), **variables, **more) as made:
            source = made.source(TOOL)
            made.tools(TOOL, source)
            made.put(source, "rules", text_of(0))
            made.settle(180)
            made.parts = parts(made)  # type: ignore[attr-defined]
            yield made
    finally:
        valkey.release()
        postgres.release()


def parts(site: Rig) -> dict[str, int]:
    return {part: site.platform.pid(part) for part in ("web", "worker", "scheduler")}


@contextmanager
def away(server: Any) -> Iterator[None]:
    """Gone for half a minute in all."""
    began = time.monotonic()
    server.stop()
    try:
        yield
        time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    finally:
        server.acquire()


def health(site: Rig, what: str) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{site.platform.port}/health/{what}", timeout=PATIENCE, trust_env=False)


def in_time(site: Rig, method: str, path: str, **options: Any) -> httpx2.Response:
    began = time.monotonic()
    answer = site.ask(method, path, **options)
    assert answer is not None
    assert time.monotonic() - began < PATIENCE, f"{method} {path} took {time.monotonic() - began:.1f} s"
    return answer


def upload(site: Rig, source: str, name: str) -> dict[str, Any]:
    body = {"title": name, "text": text_of(1), "external_id": name}
    answer = in_time(site, "POST", f"knowledge-sources/{source}/documents/", json=body)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    site.documents.add(accepted["document_id"])
    return accepted


def test_database_away_for_half_a_minute(site: Rig) -> None:
    source = site.source("database")
    accepted = [upload(site, source, f"before-{n}") for n in range(3)]
    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(site.question, TOOL) for _ in range(4)]
        wait_for(lambda: len(site.provider.calls_of("slow")) >= 4, 60)
        with away(site.postgres):
            for _ in range(3):
                refused = in_time(site, "GET", "documents/")
                assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
                assert "psycopg" not in refused.text
                ready = health(site, "ready")
                assert (ready.status_code, ready.json()["parts"]["database"]) == (503, "does not answer")
                assert ready.json()["parts"]["broker"] == "ok"
                assert health(site, "live").status_code == 200
        seconds = site.ready(RECOVERY_SECONDS)
        assert in_time(site, "GET", "documents/").status_code == 200
        told = [stream.result() for stream in streams]

    assert seconds <= RECOVERY_SECONDS
    for one in told:
        assert one.events[-1] == "run.completed"
        assert site.get(f"runs/{one.run_id}/")["status"] == "completed"
    site.settle(240)
    assert {site.get(f"documents/{one['document_id']}/")["status"] for one in accepted} == {"ready"}
    assert parts(site) == site.parts  # type: ignore[attr-defined]
    site.check(exact=False)


def test_connections_of_all_processes_are_cut(site: Rig) -> None:
    source = site.source("backends")
    stop = threading.Event()

    def cut() -> None:
        with psycopg.connect(site.postgres.url, autocommit=True) as connection:
            while not stop.wait(0.5):
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                   " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")  # fmt: skip

    cutter = threading.Thread(target=cut)
    cutter.start()
    answers = [site.ask("GET", "documents/") for _ in range(30)]
    stop.set()
    cutter.join()

    assert {answer.status_code for answer in answers if answer is not None} <= {200, 503}
    assert None not in answers
    site.ready(RECOVERY_SECONDS)
    accepted = upload(site, source, "after")
    site.settle(240)
    assert site.get(f"documents/{accepted['document_id']}/")["status"] == "ready"
    assert parts(site) == site.parts  # type: ignore[attr-defined]
    site.check(exact=False)


def test_broker_away_for_half_a_minute(site: Rig) -> None:
    """Runs and login go on, other processes read events from PostgreSQL, rates are counted there, work waits."""
    source, key = site.source("broker"), uuid.uuid4().hex
    with ThreadPoolExecutor(4) as pool, away(site.valkey):
        stream = pool.submit(site.question, TOOL, key)
        wait_for(lambda: site.sql("SELECT id FROM observability_run WHERE status = 'running'"), 20)
        run_id = site.one("SELECT id FROM observability_run WHERE status = 'running'")
        readers = [pool.submit(follow, site, run_id) for _ in range(3)]
        accepted = [upload(site, source, f"during-{n}") for n in range(3)]
        signed_in = in_time(site, "POST", "session/",
                            json={"email": "admin@localhost", "password": "a password of the rig"})  # fmt: skip
        limited = in_time(site, "GET", "documents/")
        ready = health(site, "ready")
        assert health(site, "live").status_code == 200
        again = in_time(site, "POST", f"rag-tools/{TOOL}/query", json={"question": "other"},
                        headers={"Idempotency-Key": key})  # fmt: skip
        told = stream.result()

    assert signed_in.status_code == 200, signed_in.text
    assert (ready.status_code, ready.json()["parts"]) == (
        503, {"database": "ok", "broker": "does not answer", "storage": "ok"})  # fmt: skip
    assert told.events[-1] == "run.completed"
    assert all(reader.result()[-1] == "run.completed" for reader in readers)
    assert again.status_code == 422
    assert limited.headers["RateLimit-Limit"] == "3000"
    assert site.one("SELECT count(*) FROM core_requestcount WHERE key LIKE 'rate:reads:%%'") >= 1
    site.ready(RECOVERY_SECONDS)
    began = time.monotonic()
    wait_for(lambda: {site.get(f"documents/{one['document_id']}/")["status"] for one in accepted} == {"ready"}, 120)
    assert time.monotonic() - began < 120
    site.settle(240)
    assert parts(site) == site.parts  # type: ignore[attr-defined]
    site.check(exact=False)


def test_broker_that_hangs_holds_nobody_up(site: Rig) -> None:
    """It takes connections and answers nothing, as behind a network that is cut."""
    source = site.source("hangs")
    pid = site.valkey.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        accepted = [upload(site, source, f"during-{n}") for n in range(2)]
        found = in_time(site, "POST", f"retrieval-tools/{TOOL}/search", json={"query": "lamp rule"})
        ready, live = health(site, "ready"), health(site, "live")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert found.status_code == 200
    assert (ready.status_code, ready.json()["parts"]["broker"]) == (503, "does not answer")
    assert live.status_code == 200
    site.ready(RECOVERY_SECONDS)
    wait_for(lambda: {site.get(f"documents/{one['document_id']}/")["status"] for one in accepted} == {"ready"}, 120)
    site.settle(240)
    assert parts(site) == site.parts  # type: ignore[attr-defined]
    site.check(exact=False)


def follow(site: Rig, run_id: Any) -> list[str]:
    """The names of a run's events, from whichever process answers."""
    with site.client() as client, client.stream("GET", f"/api/v1/runs/{run_id}/events") as answer:
        return [line.removeprefix("event: ") for line in answer.iter_lines() if line.startswith("event: ")]


def test_provider_away_leaves_the_platform_ready_and_words_answer(site: Rig) -> None:
    with site.provider.down():
        found = in_time(site, "POST", f"retrieval-tools/{TOOL}/search", json={"query": "lamp rule", "top_k": 5})
        ready = health(site, "ready")

    assert ready.status_code == 200
    assert found.status_code == 200, found.text
    assert found.json()["degraded"] == ["dense"]
    assert found.json()["results"]
    trace = site.get(f"traces/{found.json()['trace_id']}/")
    assert "dense" in str(trace)
    site.settle()


def test_storage_away_is_named_and_refuses_uploads_alone(site: Rig) -> None:
    folder = site.platform.data_dir / "files"
    aside = Path(f"{folder}.aside")
    source = site.source("storage")
    folder.rename(aside)
    folder.touch()
    try:
        body = {"title": "lost", "text": text_of(1), "external_id": "lost"}
        refused = in_time(site, "POST", f"knowledge-sources/{source}/documents/", json=body)
        ready, live = health(site, "ready"), health(site, "live")
        found = in_time(site, "POST", f"retrieval-tools/{TOOL}/search", json={"query": "lamp rule"})
    finally:
        folder.unlink()
        aside.rename(folder)

    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert (ready.status_code, ready.json()["parts"]["storage"]) == (503, "cannot be written")
    assert (live.status_code, found.status_code) == (200, 200)
    site.ready(RECOVERY_SECONDS)
    accepted = upload(site, source, "lost")
    site.settle(240)
    assert site.get(f"documents/{accepted['document_id']}/")["status"] == "ready"
    site.check(exact=False)
