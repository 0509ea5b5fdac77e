"""Two web processes, three workers and two schedulers on one database and one Valkey: nothing is done twice, nothing
is lost."""

import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from magnet.environment import BASE_DIR, Environment
from magnet.supervisor import Supervisor
from magnet.tests.platform import clean_environment, wait_for
from magnet.tests.rig import SPOKEN, Rig, rig, text_of

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(420)]

TOOL = "many"


@contextmanager
def another(site: Rig, part: str, number: int) -> Iterator[None]:
    """One more process of this part, as on another machine."""
    supervisor = Supervisor(Environment(site.platform.variables))
    command = next(one.command for one in supervisor.parts if one.name == part)
    command = [word.replace("worker@", f"worker{number}@") for word in command]
    log = site.platform.data_dir / "logs" / f"{part}-{number}.log"
    ready = site.platform.data_dir / "run" / f"{part}-{number}.ready"
    variables = {**site.platform.variables, "MAGNET_READY_FILE": str(ready), "REMAP_SIGTERM": "SIGQUIT"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=BASE_DIR, env=clean_environment(**variables), stdout=output, stderr=output
        )
    try:
        wait_for(lambda: ready.exists() or part == "scheduler", 60)
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    variables = {"WEB_WORKERS": "2", "WORKER_CONCURRENCY": "1", "VECTOR_DB_CONFIG": ""}
    with rig(tmp_path_factory.mktemp("many"), **variables) as made, ExitStack() as more:
        for part, number in (("worker", 2), ("worker", 3), ("scheduler", 2)):
            more.enter_context(another(made, part, number))
        source = made.source(TOOL)
        made.tools(TOOL, source)
        made.put(source, "rules", text_of(0))
        made.settle()
        yield made


def twice(site: Rig, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same POST under one key, sent twice at once and again while one still runs; both get the same answer."""
    key = uuid.uuid4().hex

    def post(_: int) -> httpx2.Response:
        deadline = time.monotonic() + 60
        while True:
            answer = site.ask("POST", path, json=body, headers={"Idempotency-Key": key})
            assert answer is not None
            if answer.status_code != 409 or time.monotonic() > deadline:
                return answer
            time.sleep(0.2)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(post, range(2))
    assert first.is_success, first.text
    assert first.json() == second.json()
    assert [("idempotency-replayed" in one.headers) for one in (first, second)].count(True) == 1
    found: dict[str, Any] = first.json()
    return found


def test_load_from_many_callers_is_done_once(site: Rig) -> None:
    source = site.source("load")
    uploads = f"knowledge-sources/{source}/documents/"
    work = [(uploads, {"title": f"Document {n}", "text": text_of(n, 3)}) for n in range(40)]
    work += [(f"rag-tools/{TOOL}/query", {"question": f"{SPOKEN} {n}: which lamp?"}) for n in range(20)]
    work += [("api-keys/", {"name": f"key {n}"}) for n in range(10)]
    before = {call: len(site.provider.calls_of(call)) for call in ("steady", "embed")}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: twice(site, *one), work[::3] + work[1::3] + work[2::3]))
    site.settle(240)

    documents = [one["document_id"] for one in answers if "document_id" in one]
    site.documents.update(documents)
    site.runs.update(one["id"] for one in answers if one.get("kind") == "rag_tool")
    listed = site.get(f"{uploads}?limit=200")["results"]
    assert len(documents) == 40
    assert {one["id"]: one["status"] for one in listed} == dict.fromkeys(documents, "ready")
    jobs = "SELECT status, attempts, lost_leases, count(*) FROM observability_job"
    jobs += " WHERE subject_id = ANY(%s::uuid[]) GROUP BY 1, 2, 3"
    assert site.sql(jobs, documents) == [("succeeded", 1, 0, 40)]
    runs = "SELECT status, count(*) FROM observability_run WHERE kind = 'rag_tool' GROUP BY 1"
    assert site.sql(runs) == [("completed", 20)]
    assert len(site.provider.calls_of("steady")) - before["steady"] == 20
    assert site.one("SELECT count(*) FROM accounts_apikey WHERE name LIKE 'key %%'") == 10
    assert len(working_processes(site)) >= 3
    site.check()


def working_processes(site: Rig) -> set[str]:
    """The log files of workers that say that they ended an attempt."""
    logs = (site.platform.data_dir / "logs").glob("worker*.log")
    return {log.name for log in logs if "job.attempt_ended" in log.read_text()}


def test_schedules_run_once_each_time_however_many_tick(site: Rig) -> None:
    names = ["expired-sessions", "stored-answers", "request-counts", "forgotten-streams", "staged-vectors"]
    total = "SELECT name, runs_total FROM observability_schedule WHERE name = ANY(%s)"
    before = dict(site.sql(total, names))

    for times in range(1, 4):
        site.sql("UPDATE observability_schedule SET next_run_at = now() WHERE name = ANY(%s)", names)
        wait_for(lambda times=times: all(n >= before[name] + times for name, n in site.sql(total, names)), 60)
        site.settle()

    assert dict(site.sql(total, names)) == {name: count + 3 for name, count in before.items()}
    outcomes = "SELECT DISTINCT outcome, error FROM observability_schedule WHERE name = ANY(%s)"
    assert site.sql(outcomes, names) == [("succeeded", "")]
    site.check()
