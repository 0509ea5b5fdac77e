"""The journey on a PostgreSQL and a Redis that are somebody else's, given by URL, and what their absence does to it.

The servers are the wheel's PostgreSQL in a folder of its own and Debian's redis-server. The platform runs on them from
the first test to the last: nothing of it is started again.
"""

import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest

from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.server import free_port
from magnet.tests.platform import Platform, wait_for

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(240)]

QUESTION = "How many days of annual leave do I get?"
RECOVERY_SECONDS = 10


class DebianRedis:
    """Debian's redis-server on a loopback port, with a password and nothing on disk."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://:elsewhere@127.0.0.1:{self.port}/3"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", "elsewhere", "--save", ""]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)


class Site:
    """The running platform as a program sees it that has a key."""

    def __init__(self, platform: Platform, postgres: EmbeddedPostgres, redis: DebianRedis) -> None:
        self.platform = platform
        self.postgres = postgres
        self.redis = redis
        self.pids = {part: platform.pid(part) for part in ("web", "worker", "scheduler")}
        key = platform.manage("create_api_key", "outside").stdout.strip()
        self._client = httpx2.Client(
            base_url=f"http://127.0.0.1:{platform.port}",
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=30,
        )

    def get(self, path: str) -> httpx2.Response:
        return self._client.get(path)

    def ask(self) -> httpx2.Response:
        return self._client.post("/api/v1/rag-tools/handbook-qa/query", json={"question": QUESTION})

    def upload(self, title: str) -> str:
        """The id of a document that was accepted."""
        body = {"title": title, "text": f"# {title}\n\nThe {title} is open from nine to five."}
        answer = self._client.post("/api/v1/knowledge-sources/handbook/documents/", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["document_id"])

    def status_of(self, document: str) -> str:
        return str(self.get(f"/api/v1/documents/{document}/").json().get("status"))

    def same_processes(self) -> bool:
        return self.pids == {part: self.platform.pid(part) for part in self.pids}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    postgres = EmbeddedPostgres(DataDir(tmp_path_factory.mktemp("elsewhere")).prepare())
    redis = DebianRedis()
    redis.start()
    platform = Platform(
        tmp_path_factory.mktemp("platform"),
        DATABASE_URL=postgres.acquire(),
        REDIS_URL=redis.url,
        ADMIN_PASSWORD="x" * 20,
    )
    try:
        platform.start_and_wait()
        yield Site(platform, postgres, redis)
    finally:
        platform.terminate()
        redis.stop()
        postgres.release()


def _problem(answer: httpx2.Response) -> Any:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.json()


def test_journey_from_an_upload_to_a_cited_answer(site: Site) -> None:
    document = site.upload("Harbour kiosk")
    wait_for(lambda: site.status_of(document) == "ready", 60)
    wait_for(lambda: site.ask().json()["citations"], 60)

    answer = site.ask().json()

    assert answer["status"] == "completed"
    assert "30 days of annual leave" in answer["content"]
    assert all(citation["verified"] for citation in answer["citations"])
    assert not (site.platform.data_dir / "postgres").exists()
    assert not (site.platform.data_dir / "valkey").exists()


def test_lost_redis_costs_no_answer_and_no_document(site: Site) -> None:
    site.redis.stop()
    during = site.ask()
    uploaded = site.upload("Boat shed")
    ready = site.get("/health/ready")
    live = site.get("/health/live")
    site.redis.start()

    assert (during.status_code, during.json()["status"]) == (200, "completed")
    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json()["parts"] == {"database": "ok", "broker": "does not answer", "storage": "ok"}
    wait_for(site.platform.is_ready, RECOVERY_SECONDS)
    wait_for(lambda: site.status_of(uploaded) == "ready", 120)
    assert site.same_processes()


def test_lost_postgres_is_a_503_until_it_is_back(site: Site) -> None:
    pid = site.postgres.pid()
    site.postgres.stop()

    refused, live, ready = site.ask(), site.get("/health/live"), site.get("/health/ready")
    site.postgres.acquire()

    assert pid is not None
    assert (refused.status_code, _problem(refused)["status"]) == (503, 503)
    assert (live.status_code, ready.status_code) == (200, 503)
    wait_for(site.platform.is_ready, RECOVERY_SECONDS)
    assert site.ask().json()["status"] == "completed"
    later = site.upload("Rope store")
    wait_for(lambda: site.status_of(later) == "ready", 120)
    assert site.same_processes()


def test_ended_connections_are_not_noticed(site: Site) -> None:
    with psycopg.connect(site.postgres.url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = current_user AND pid <> pg_backend_pid()"
        )

    answers = [site.ask() for _ in range(5)]

    assert answers[-1].json()["status"] == "completed"
    assert {answer.status_code for answer in answers} <= {200, 503}
    later = site.upload("Net loft")
    wait_for(lambda: site.status_of(later) == "ready", 120)
    assert site.same_processes()
