"""Idempotency-Key on synchronous endpoints; runs have theirs in rag/tests/test_api_once.py."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, connections
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import ApiKey, Membership
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.api.idempotency import SLOW, Attempt, KeyReused, StillRunning, begin_slowly, claimed, end_slowly, keep
from core.models import StoredAnswer
from knowledge.models import Document
from knowledge.services import source_create
from llm.seeds import seed_workspace as seed_models
from observability.models import Job
from prompts.models import PromptTemplate

BODY = {
    "name": "Greeting", "slug": "greeting", "variant": {"messages": [{"role": "user", "content": "Say hello"}]},
}  # fmt: skip


def client_of(member: Membership) -> APIClient:
    client = APIClient()
    issued = api_key_issue(user=member.user, workspace=member.workspace, name="test")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}")
    return client


@pytest.fixture
def member(db) -> Membership:
    member = MembershipFactory(role=Role.OPERATOR)
    seed_models(member.workspace_id)
    return member


@pytest.fixture
def client(member) -> APIClient:
    return client_of(member)


def post(client, body=BODY, key="order-1", path="prompt-templates/", **options):
    options.setdefault("format", "json")
    return client.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": key}, **options)


def templates(member) -> int:
    return PromptTemplate.objects.for_workspace(member.workspace_id).count()


def test_the_same_request_again_gets_the_stored_answer(client, member):
    first = post(client)
    again = post(client, dict(reversed(BODY.items())))

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first["ETag"] == again["ETag"] == '"1"'
    assert (first.get("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (None, "true")
    assert templates(member) == 1


def test_another_body_is_refused_and_changes_nothing(client, member):
    post(client)

    other = post(client, {**BODY, "slug": "other"})

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert templates(member) == 1


def test_another_key_principal_path_and_workspace_are_independent(client, member):
    colleague = MembershipFactory(workspace=member.workspace, role=Role.OPERATOR)
    stranger = MembershipFactory(role=Role.OPERATOR)
    assert post(client).status_code == 201

    assert post(client, {**BODY, "slug": "two"}, key="order-2").status_code == 201
    assert post(client_of(colleague), {**BODY, "slug": "three"}).status_code == 201
    assert post(client_of(stranger)).status_code == 201
    assert post(client, {}, path="prompt-templates/greeting/variants/1/publish").status_code == 200


def test_a_session_is_kept_apart_by_workspace(member):
    other = MembershipFactory(user=member.user, role=Role.OPERATOR)
    client = APIClient()
    client.force_login(member.user)
    for workspace in (member.workspace, other.workspace):
        client.credentials(HTTP_X_WORKSPACE=workspace.slug)
        assert post(client).status_code == 201

    assert (templates(member), templates(other)) == (1, 1)


def test_publishing_twice_with_one_key_answers_twice_the_same(client):
    post(client)

    answers = [post(client, {}, key="p", path="prompt-templates/greeting/variants/1/publish") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()


def test_a_new_api_key_is_told_again_and_stored_encrypted(client):
    first, again = (post(client, {"name": "robot"}, path="api-keys/") for _ in range(2))

    assert first.json()["key"] == again.json()["key"]
    assert ApiKey._unscoped.filter(name="robot").count() == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM core_storedanswer")
        assert first.json()["key"].rsplit("_", 1)[1] not in cursor.fetchone()[0]


def test_an_error_is_not_stored(client, member):
    refused = post(client, {**BODY, "slug": "not a slug"})
    mended = post(client)

    assert (refused.status_code, mended.status_code) == (400, 201)
    assert templates(member) == 1


def test_an_answer_is_kept_for_a_day(client):
    post(client)
    StoredAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))

    refused = post(client)

    assert refused.status_code == 400  # it is tried anew, and the slug is taken


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "tab\t"])
def test_a_key_that_is_none_is_refused(client, key):
    answer = post(client, key=key)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"


def test_the_parts_of_a_form_are_compared(client, member, settings, tmp_path):
    settings.STORAGE_DIR = tmp_path
    source_create(principal=principal_of(member), values={"name": "House rules", "slug": "rules"})

    def upload(content: bytes, name: str = "a.txt"):
        form = {"file": SimpleUploadedFile(name, content), "title": "A"}
        return post(client, form, path="knowledge-sources/rules/documents/", format="multipart")

    first, again = upload(b"one"), upload(b"one")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert first["Location"] == again["Location"]
    assert upload(b"two").status_code == 422
    assert upload(b"one", "b.txt").status_code == 422
    assert (Document._unscoped.count(), Job._unscoped.count()) == (1, 1)
    assert Document._unscoped.get().size == 3


def test_without_a_key_nothing_is_stored(client):
    client.post("/api/v1/prompt-templates/", BODY, format="json")

    assert StoredAnswer.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_twenty_at_once_have_one_effect(client, member):
    start = threading.Barrier(20)

    def send(_: int):
        mine = APIClient()
        mine.credentials(**client._credentials)
        start.wait()
        try:
            return post(mine)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(send, range(20)))

    by_status = {status: [a for a in answers if a.status_code == status] for status in (201, 409)}
    assert sum(map(len, by_status.values())) == 20
    assert {answer.json()["id"] for answer in by_status[201]} == {post(client).json()["id"]}
    assert {(a.json()["code"], a["Retry-After"]) for a in by_status[409]} <= {("idempotency_in_progress", "1")}
    assert templates(member) == 1


ATTEMPT = Attempt(key_hash="ab" * 32, request_hash="cd" * 32)


@pytest.mark.django_db(transaction=True)
def test_who_dies_in_the_middle_leaves_nothing_to_wait_for():
    holds, go_on, backend = threading.Event(), threading.Event(), []

    def dies():
        with claimed(ATTEMPT):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                backend.append(cursor.fetchone()[0])
            keep(ATTEMPT, status=201, answer={"body": 1, "headers": {}})
            holds.set()
            go_on.wait(10)
            StoredAnswer.objects.count()

    def thread_of_the_dying():
        try:
            with pytest.raises(Exception, match="terminat"):
                dies()
        finally:
            connections.close_all()

    thread = threading.Thread(target=thread_of_the_dying)
    thread.start()
    assert holds.wait(10)
    with pytest.raises(StillRunning), claimed(ATTEMPT):
        pytest.fail("held by the other")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", backend)
    go_on.set()
    thread.join(10)

    with claimed(ATTEMPT) as stored:
        assert stored is None
        keep(ATTEMPT, status=201, answer={"body": 2, "headers": {}})
    with claimed(ATTEMPT) as stored:
        assert stored is not None
        assert stored.answer.reveal()["body"] == 2
    with pytest.raises(KeyReused), claimed(Attempt(ATTEMPT.key_hash, "ef" * 32)):
        pytest.fail("another request")


def test_slow_work_is_waited_for_stored_or_tried_again(db):
    assert begin_slowly(ATTEMPT) is None
    with pytest.raises(StillRunning):
        begin_slowly(ATTEMPT)
    end_slowly(ATTEMPT, None)
    assert begin_slowly(ATTEMPT) is None
    end_slowly(ATTEMPT, {"data": [1]})

    assert begin_slowly(ATTEMPT) == {"data": [1]}


def test_slow_work_that_died_is_forgotten_after_a_while(db):
    begin_slowly(ATTEMPT)
    StoredAnswer.objects.update(created_at=timezone.now() - SLOW)

    assert begin_slowly(ATTEMPT) is None
