import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core.access import Role, Scope
from core.metrics import JOBS
from core.queue import Queue
from observability import metrics
from observability.leases import LeasedJob, PermanentFailure, run_leased
from observability.metrics import _jobs
from observability.services import job_create

pytestmark = pytest.mark.django_db


def client_as(*, superuser: bool, scopes=tuple(Scope)) -> APIClient:
    member = MembershipFactory(role=Role.ADMIN, user__is_superuser=superuser)
    client = APIClient()
    key = api_key_issue(user=member.user, workspace=member.workspace, name="prometheus", scopes=scopes)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key.text}")
    client.member = member
    return client


def samples(client: APIClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    _jobs._until = 0
    answer = client.get("/metrics", HTTP_ACCEPT="application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_never_by_address():
    client = client_as(superuser=True)
    key = ("magnet_http_requests_total", (("method", "GET"), ("route", "/api/v1/runs/<str:id>/"), ("status", "404")))
    before = samples(client).get(key, 0)

    client.get("/api/v1/runs/a-sentinel/")

    found = samples(client)
    assert found[key] == before + 1
    assert "a-sentinel" not in str(found)


def test_open_jobs_are_counted_by_queue_with_the_age_of_the_oldest():
    client = client_as(superuser=True)
    job_create(
        workspace_id=client.member.workspace_id, kind="k", task="t", queue=Queue.INGEST, title="a sentinel", total=1
    )

    found = samples(client)

    assert found[("magnet_open_jobs", (("queue", "ingest"), ("status", "pending")))] == 1
    assert found[("magnet_oldest_waiting_job_seconds", (("queue", "ingest"),))] >= 0
    assert "a sentinel" not in str(found)


def test_rows_are_read_once_for_many_scrapers(django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 600.0)  # however busy the machine is
    samples(client_as(superuser=True))
    with django_assert_num_queries(0):
        list(_jobs.collect())


@pytest.mark.parametrize(
    ("superuser", "scopes", "status"),
    [(False, tuple(Scope), 403), (True, (Scope.RUN,), 403), (True, (Scope.READ,), 200)],
)
def test_metrics_are_for_superusers_keys_that_may_read(superuser, scopes, status):
    assert client_as(superuser=superuser, scopes=scopes).get("/metrics").status_code == status


def test_strangers_get_no_metrics():
    assert APIClient().get("/metrics").status_code == 401


def test_the_figures_of_all_processes_are_added_up(tmp_path):
    count = "from core.metrics import TOKENS; TOKENS.labels('chat', 'm', 'input').inc(7)"
    read = (
        "from prometheus_client import CollectorRegistry, generate_latest;"
        "from prometheus_client.multiprocess import MultiProcessCollector;"
        "r = CollectorRegistry(); MultiProcessCollector(r); print(generate_latest(r).decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _process in range(2):
        subprocess.run([sys.executable, "-c", count], env=environment, check=True)

    told = subprocess.run([sys.executable, "-c", read], env=environment, check=True, capture_output=True, text=True)

    assert 'magnet_tokens_total{direction="input",model="m",operation="chat"} 14.0' in told.stdout


def test_attempts_at_jobs_are_counted_by_how_they_ended():
    member = MembershipFactory(role=Role.ADMIN)
    jobs = [
        job_create(workspace_id=member.workspace_id, kind="counted", task="t", queue=Queue.INGEST, title="x", total=1)
        for _number in range(2)
    ]
    run_leased(jobs[0].pk, lambda _leased: None)

    def fails(_leased: LeasedJob) -> None:
        raise PermanentFailure("broken", "It is broken.")

    run_leased(jobs[1].pk, fails)

    assert (JOBS.labels("counted", "succeeded")._value.get(), JOBS.labels("counted", "failed")._value.get()) == (1, 1)
