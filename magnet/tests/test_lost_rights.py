"""Somebody who is deactivated, a key that is revoked, and somebody of another workspace, on the running platform."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest

from magnet.tests.platform import wait_for
from magnet.tests.rig import Rig, rig, text_of
from magnet.tests.scripted_answers import chat, say
from magnet.tests.web import Visitor

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(300)]

EMAIL, PASSWORD = "bob@example.org", "a password that bob chose"
LONGEST_SECONDS = 60
TALK = "prompt-templates/talker/run"


@chat("talks")
async def _talks(exchange: Any) -> None:
    """A word each half second, for five minutes."""
    await say(exchange, "northern " * 600, pause=0.5)


class Reader(threading.Thread):
    """Somebody who reads a stream to its end. received: its bytes; last: the name and data of its last event."""

    def __init__(self, site: Rig, key: str, method: str, path: str, **options: Any) -> None:
        super().__init__(daemon=True)
        self.status, self.received, self.last = 0, 0, ("", {})
        self._request = (site, key, method, path, options)
        self.start()
        wait_for(lambda: self.received > 0, 30)

    def run(self) -> None:
        site, key, method, path, options = self._request
        with caller(site, key) as client, client.stream(method, f"/api/v1/{path}", **options) as answer:
            self.status, name = answer.status_code, ""
            for line in answer.iter_lines():
                self.received += len(line)
                name = line.removeprefix("event: ") if line.startswith("event: ") else name
                if line.startswith("data: "):
                    self.last = (name, json.loads(line.removeprefix("data: ")))

    def flows(self) -> bool:
        """Whether more of it comes."""
        before = self.received
        time.sleep(2)
        return self.is_alive() and self.received > before

    def ended_with(self, seconds: float) -> tuple[str, int]:
        self.join(seconds)
        assert not self.is_alive(), f"the stream goes on after {seconds:.0f} s"
        name, data = self.last
        return name, data["problem"]["status"]


def caller(site: Rig, key: str) -> httpx2.Client:
    base = f"http://127.0.0.1:{site.platform.port}"
    return httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=90, trust_env=False)


def talk(site: Rig, key: str) -> tuple[Reader, str]:
    """A stream of the talker, and its run's id."""
    reader = Reader(site, key, "POST", TALK, json={"variables": {}, "stream": True})
    wait_for(lambda: "run_id" in reader.last[1], 30)
    return reader, reader.last[1]["run_id"]


def new_key(site: Rig, name: str, *options: str) -> str:
    done = site.platform.manage("create_api_key", name, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("rights")) as made:
        model = {"provider": "openai", "name": "Talks", "slug": "talks", "identifier": "talks", "kind": "chat"}
        made.made("POST", "models/", {**model, "timeout_seconds": 280})
        variant = {"model": "talks", "messages": [{"role": "user", "content": "Talk."}]}
        made.made("POST", "prompt-templates/", {"name": "Talker", "slug": "talker", "variant": variant})
        made.made("POST", "prompt-templates/talker/variants/1/publish")
        yield made


@pytest.fixture(scope="module")
def bob(site: Rig) -> Visitor:
    """Invited by link, with a session in the panel."""
    link = site.made("POST", "members/", {"email": EMAIL, "role": "operator"})["invitation_link"]
    visitor = Visitor(f"http://localhost:{site.platform.port}")
    visitor.request("GET", "/panel/password/?set")
    token = link.partition("#")[2]
    assert visitor.submit("/panel/password/?set", token=token, password=PASSWORD, again=PASSWORD).status_code == 302
    assert visitor.sign_in(EMAIL, PASSWORD).status_code == 200
    return visitor


def test_another_workspace_gets_nothing_of_a_live_stream_and_cannot_stop_it(site: Rig) -> None:
    site.made("POST", "workspaces/", {"name": "South", "slug": "south"})
    eve = new_key(site, "eve", "--workspace", "south")
    job = site.put(site.source("south-job"), "rules", text_of(0))["job_id"]
    reader, run = talk(site, site.key)
    trace = site.get(f"runs/{run}/")["trace_id"]
    asked = [("GET", f"runs/{run}/"), ("GET", f"runs/{run}/events"), ("POST", f"runs/{run}/cancel"),
             ("GET", f"traces/{trace}/"), ("GET", f"jobs/{job}/"), ("GET", f"jobs/{job}/events"),
             ("POST", f"jobs/{job}/cancel")]  # fmt: skip

    with caller(site, eve) as client:
        for method, path in asked:
            for headers in ({}, {"Last-Event-ID": "0"}, {"Last-Event-ID": "99999"}):
                answer = client.request(method, f"/api/v1/{path}", headers=headers)
                assert answer.status_code == 404, (path, answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
                assert "northern" not in answer.text
        assert client.get("/api/v1/runs/").json()["results"] == []

    assert reader.flows()
    assert site.get(f"runs/{run}/")["status"] == "running"
    site.made("POST", f"runs/{run}/cancel")
    reader.join(10)
    assert reader.last[0] == "run.cancelled"


def test_revoked_key_ends_its_streams_and_another_key_lives(site: Rig, bob: Visitor) -> None:
    lost, kept = new_key(site, "lost", "--user", EMAIL), new_key(site, "kept", "--user", EMAIL)
    (reader, run), (other, _) = talk(site, lost), talk(site, kept)
    follower = Reader(site, lost, "GET", f"runs/{run}/events")
    row = next(one for one in site.get("api-keys/")["results"] if one["name"] == "lost")

    site.made("DELETE", f"api-keys/{row['id']}/")
    began = time.monotonic()

    with caller(site, lost) as client:
        assert client.get("/api/v1/runs/").status_code == 401
        assert client.post(f"/api/v1/{TALK}", json={"variables": {}}).status_code == 401
    for one in (reader, follower):
        assert one.ended_with(LONGEST_SECONDS - (time.monotonic() - began)) == ("run.failed", 401)
    assert other.flows()
    with caller(site, kept) as client:
        assert client.get("/api/v1/runs/").status_code == 200


def test_deactivated_person_loses_all_doors_and_what_waits(site: Rig, bob: Visitor) -> None:
    key = new_key(site, "last", "--user", EMAIL)
    reader, _ = talk(site, key)
    source = site.source("waiting")
    with stopped_worker(site), caller(site, key) as client:
        path = f"/api/v1/knowledge-sources/{source}/documents/"
        job = client.post(path, json={"title": "Rules", "text": text_of(1)}).json()["job_id"]

        deactivate(site)
        began = time.monotonic()

        refused = [client.get("/api/v1/runs/"), client.get("/v1/models"), client.post(path, json={})]
        assert [one.status_code for one in refused] == [401] * 3
        pages = [bob.request("GET", one).status_code for one in ("/panel/", "/admin/", "/api/v1/session/")]
        assert pages == [302, 302, 401]
        bob.request("GET", "/panel/login/")
        assert bob.submit("/panel/login/", username=EMAIL, password=PASSWORD).status_code == 200  # the form again
    assert reader.ended_with(LONGEST_SECONDS - (time.monotonic() - began)) == ("run.failed", 401)
    wait_for(lambda: site.get(f"jobs/{job}/")["status"] not in ("pending", "running"), LONGEST_SECONDS)
    ended = site.get(f"jobs/{job}/")
    assert (ended["status"], ended["attempts"]) == ("cancelled", 0)
    (document,) = site.get(f"knowledge-sources/{source}/documents/")["results"]
    assert document["chunk_count"] == 0


class stopped_worker:  # noqa: N801 - reads as a verb
    """Within the block no task begins."""

    def __init__(self, site: Rig) -> None:
        main = psutil.Process(site.platform.pid("worker"))
        self._processes = [main, *main.children(recursive=True)]

    def __enter__(self) -> None:
        for process in self._processes:
            process.suspend()

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.resume()


def deactivate(site: Rig) -> None:
    """As a superuser does it, in the admin."""
    boss = Visitor(f"http://localhost:{site.platform.port}")
    boss.sign_in("admin@localhost", "a password of the rig", then="/admin/")
    (pk,) = site.sql("SELECT id FROM accounts_user WHERE email = %s", EMAIL)[0]
    answer = boss.submit(f"/admin/accounts/user/{pk}/change/", email=EMAIL, name="Bob", new_password="")
    assert answer.status_code == 302, answer.text
    assert site.one("SELECT is_active FROM accounts_user WHERE email = %s", EMAIL) is False
