"""Rates of callers: in Valkey, and in PostgreSQL while it is away."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from rest_framework.test import APIClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory
from core import limits
from core.access import Role
from core.limits import Rate, RateExceeded, Standing, count_request
from core.models import RequestCount, StoredAnswer
from core.valkey import sync_client


@pytest.fixture
def caller() -> str:
    return f"key:{uuid.uuid4()}"


@pytest.fixture
def away(settings, monkeypatch):
    """A Valkey that nobody listens for."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    sync_client.cache_clear()
    monkeypatch.setattr(limits._Away, "until", 0.0)
    yield
    sync_client.cache_clear()


@pytest.fixture
def client(db) -> APIClient:
    member = MembershipFactory(role=Role.OPERATOR)
    client = APIClient()
    issued = api_key_issue(user=member.user, workspace=member.workspace, name="test")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    return client


def test_a_window_begins_with_the_first_request_and_counts(caller):
    first, second = count_request(caller, Rate.READS), count_request(caller, Rate.READS)

    assert (first.used, second.used) == (1, 2)
    assert (first.limit, first.remaining, second.remaining) == (3000, 2999, 2998)
    assert 59 <= second.seconds <= 60


def test_kinds_and_callers_are_counted_apart(caller):
    count_request(caller, Rate.READS)

    assert count_request(caller, Rate.RUNS).used == 1
    assert count_request(f"{caller}0", Rate.READS).used == 1


def test_a_new_window_begins_when_the_old_one_has_ended(caller):
    count_request(caller, Rate.RUNS)
    count_request(caller, Rate.RUNS)
    sync_client().pexpire(f"magnet:rate:runs:{caller}", 1)
    while sync_client().exists(f"magnet:rate:runs:{caller}"):
        pass

    assert count_request(caller, Rate.RUNS).used == 1


def test_one_too_many_is_refused_with_the_time_to_wait():
    Standing(Rate.RUNS, limit=5, used=5, seconds=7).require()

    with pytest.raises(RateExceeded, match=r"more than 5 runs in a minute. Wait 7 s.") as refused:
        Standing(Rate.RUNS, limit=5, used=6, seconds=7).require()

    assert (refused.value.status, refused.value.retry_after) == (429, 7)


def test_counting_at_once_loses_nothing(caller):
    with ThreadPoolExecutor(10) as pool:
        used = sorted(standing.used for standing in pool.map(lambda _: count_request(caller, Rate.WRITES), range(50)))

    assert used == list(range(1, 51))


@pytest.mark.django_db(transaction=True)
def test_without_valkey_the_database_counts(away, caller, caplog):
    def count(_: int) -> int:
        try:
            return count_request(caller, Rate.WRITES).used
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        used = sorted(pool.map(count, range(12)))

    assert used == list(range(1, 13))
    assert RequestCount.objects.get().key == f"rate:writes:{caller}"
    assert {record.message for record in caplog.records} == {"rates.valkey_away"}


@pytest.mark.django_db
def test_the_database_begins_a_new_window_too(away, caller, caplog):
    assert [count_request(caller, Rate.READS).used for _ in range(2)] == [1, 2]
    row = RequestCount.objects.get()
    row.ends_at = row.ends_at.replace(year=2020)
    row.save()

    standing = count_request(caller, Rate.READS)

    assert (standing.used, standing.seconds) == (1, 60)
    assert len(caplog.records) == 1  # Valkey was asked once, and then left alone for a while


def test_every_answer_says_what_is_left(client):
    answers = [client.get("/api/v1/models/"), client.get("/api/v1/models/none/"), client.post("/api/v1/models/", {})]

    assert [answer.status_code for answer in answers] == [200, 404, 400]
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["2999", "2998", "599"]
    assert [answer["RateLimit-Limit"] for answer in answers] == ["3000", "3000", "600"]
    assert answers[0]["RateLimit-Policy"] == '"reads";q=3000;w=60'
    assert answers[0]["RateLimit"] == '"reads";r=2999;t=60'
    assert answers[0]["RateLimit-Reset"] == "60"


def test_over_the_limit_is_a_429_for_this_caller_only(client, settings):
    settings.RATES = {**settings.RATES, "reads": 2}
    other = APIClient()
    member = MembershipFactory(role=Role.VIEWER)
    other.force_login(member.user)

    answers = [client.get("/api/v1/models/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused["Retry-After"] == refused["RateLimit-Reset"]
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit-Remaining"] == "0"
    assert other.get("/api/v1/models/").status_code == 200
    assert client.post("/api/v1/models/", {}).status_code == 400


def test_health_and_the_unauthenticated_are_not_counted(client):
    assert "RateLimit-Limit" not in client.get("/health/live").headers
    anonymous = APIClient().get("/api/v1/models/")
    assert (anonymous.status_code, anonymous.get("RateLimit-Limit")) == (401, None)


def test_who_calls_is_asked_before_the_form_of_the_answer(client):
    assert APIClient().get("/api/v1/models/", headers={"Accept": "image/png"}).status_code == 401
    assert client.get("/api/v1/models/", headers={"Accept": "image/png"}).status_code == 406


def test_counted_and_stored_rows_are_named_in_logs_by_their_keys():
    assert str(RequestCount(key="rate:1", count=1)) == "rate:1"
    assert str(StoredAnswer(key_hash="abc")) == "abc"
