"""Every change to configuration, access and secrets leaves one event, whichever door it came through."""

import io
import json

import pytest
from django.contrib.auth.models import update_last_login
from django.core.management import call_command
from django.db import Error as DatabaseFailure
from django.db import connection, transaction
from django.test import Client
from rest_framework.test import APIClient

from accounts.lockout import MAX_TRIES
from accounts.models import ApiKey, AuditEvent, Group, Membership, User
from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, UserFactory
from core.access import Role
from core.audit import MAX_TEXT, shown
from knowledge.models import KnowledgeSource
from llm.models import Model, Provider
from magnet.authorisation import operations
from magnet.tests.admin_world import url
from observability.models import Budget
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool

pytestmark = pytest.mark.django_db
SECRET = "sk-sentinel-4711"
PASSWORD = "correct horse battery"


@pytest.fixture
def boss(north) -> User:
    boss = UserFactory(is_superuser=True, email="boss@example.org")
    MembershipFactory(workspace=north.workspace, user=boss, role=Role.ADMIN)
    UserFactory(email="newcomer@example.org")
    return boss


@pytest.fixture
def key(north, boss) -> ApiKey:
    return api_key_issue(user=boss, workspace=north.workspace, name="auditor's")


@pytest.fixture
def client(key) -> APIClient:
    client = APIClient()
    client.credentials(
        HTTP_AUTHORIZATION=f"Bearer {key.text}",
        HTTP_IF_MATCH="*",
        HTTP_X_REQUEST_ID="the-request",
        REMOTE_ADDR="192.0.2.7",
    )
    return client


def new_events(before: set) -> list[AuditEvent]:
    return [event for event in AuditEvent.objects.order_by("id") if event.pk not in before]


def events_so_far() -> set:
    return set(AuditEvent.objects.values_list("pk", flat=True))


def names(kind: str) -> dict[str, str]:
    return {"name": f"New {kind}", "slug": f"new-{kind}"}


def changes_of_the_api(north, draft=2):
    """Each changing operation on configuration with a body that changes something, and what it is noted as."""
    key = north[ApiKey].pk
    provider, model, source = north[Provider], north[Model], north[KnowledgeSource]
    prompt, search, tool = north[PromptTemplate], north[RetrievalTool], north[RagTool]
    message = {"messages": [{"role": "user", "content": "{{ context }} {{ question }} now"}]}
    yield (
        "POST",
        "providers/",
        {**names("provider"), "type": "openai", "base_url": "https://llm.example.org/v1", "api_key": SECRET},
        "create",
    )
    yield "PATCH", f"providers/{provider.pk}/", {"description": "d"}, "update"
    yield (
        "POST",
        "models/",
        {**names("model"), "provider": str(provider.pk), "kind": "chat", "identifier": "m"},
        "create",
    )
    yield "PATCH", f"models/{model.pk}/", {"description": "d"}, "update"
    yield "DELETE", "models/new-model/", None, "delete"
    yield "DELETE", "providers/new-provider/", None, "delete"
    yield "POST", "knowledge-sources/", names("source"), "create"
    yield "PATCH", f"knowledge-sources/{source.pk}/", {"description": "d"}, "update"
    yield "DELETE", "knowledge-sources/new-source/", None, "delete"
    yield "POST", "prompt-templates/", {**names("prompt"), "variant": message}, "create"
    yield "DELETE", "prompt-templates/new-prompt/", None, "delete"
    yield "POST", "retrieval-tools/", {**names("search"), "variant": {"sources": [str(source.pk)]}}, "create"
    yield "DELETE", "retrieval-tools/new-search/", None, "delete"
    yield (
        "POST",
        "rag-tools/",
        {**names("qa"), "variant": {"retrieval_tool": str(search.pk), "prompt": str(prompt.pk)}},
        "create",
    )
    yield "DELETE", "rag-tools/new-qa/", None, "delete"
    for resource, row, change in (
        ("prompt-templates", prompt, message),
        ("retrieval-tools", search, {"top_k": 7, "sources": []}),
        ("rag-tools", tool, {"note": "n"}),
    ):
        yield "PATCH", f"{resource}/{row.pk}/", {"description": "d"}, "update"
        yield "POST", f"{resource}/{row.pk}/variants/", {}, "create"
        yield "PATCH", f"{resource}/{row.pk}/variants/{draft}/", change, "update"
        yield "POST", f"{resource}/{row.pk}/variants/{draft}/publish", None, "publish"
        yield "POST", f"{resource}/{row.pk}/variants/1/activate", None, "activate"
    yield "POST", "groups/", names("group"), "create"
    yield "PATCH", f"groups/{north[Group].pk}/", {"members": []}, "update"
    yield "DELETE", "groups/new-group/", None, "delete"
    yield "POST", "budgets/", {**names("budget"), "unit": "tokens", "limit": 1000}, "create"
    yield "PATCH", f"budgets/{north[Budget].pk}/", {"limit": 2000}, "update"
    yield "DELETE", "budgets/new-budget/", None, "delete"
    yield "POST", "members/", {"email": "newcomer@example.org", "role": "user"}, "create"
    yield "PATCH", f"members/{north[Membership].pk}/", {"role": "viewer"}, "update"
    yield "DELETE", f"members/{north[Membership].pk}/", None, "delete"
    yield "POST", "workspaces/", {"name": "New", "slug": "new"}, "create"
    yield "PATCH", f"workspaces/{north.workspace.slug}/", {"name": "Renamed"}, "update"
    yield "POST", "api-keys/", {"name": "another"}, "create"
    yield "POST", f"api-keys/{key}/rotate", {}, "rotate"
    yield "DELETE", f"api-keys/{key}/", None, "revoke"


# What Ollama's connection leaves is tried where there is one: llm/tests/test_ollama.py.
NOT_CONFIGURATION = {"documents", "jobs", "ollama", "runs", "session"}
NO_CHANGE = ("/query", "/search", "/test", "/available-models")


def test_each_change_through_the_api_leaves_one_event(north, client, boss, key):
    ApiKey._unscoped.filter(name="north-key").update(user=boss)
    tried = set()

    for method, path, body, action in changes_of_the_api(north):
        before = events_so_far()
        answer = getattr(client, method.lower())(f"/api/v1/{path}", body)
        assert answer.status_code in (200, 201, 204), (path, answer.content)
        tried.add(path.split("/")[0])
        noted = [event for event in new_events(before) if event.action == action]
        (event,) = noted[:1] if action == "create" else noted
        assert (event.actor_id, event.actor_name) == (boss.pk, "boss@example.org"), path
        assert (event.key_id, event.key_name) == (key.key.pk, "auditor's")
        assert (event.door, event.address, event.request_id) == ("api", "192.0.2.7", "the-request")
        if action != "delete" and method != "DELETE" and body:
            assert event.changes, path

    _covers_all_changing_operations(tried)
    assert SECRET not in str(list(AuditEvent.objects.values_list("changes", "object_name")))
    assert key.text not in str(list(AuditEvent.objects.values()))


def _covers_all_changing_operations(tried: set) -> None:
    changing = [one for one in operations() if one.method != "GET" and not one.path.endswith(NO_CHANGE)]
    resources = {one.path.split("/")[3] for one in changing if one.path.startswith("/api/v1/")}
    assert resources - NOT_CONFIGURATION - tried == set()


def test_an_event_holds_both_values_and_of_a_secret_that_it_changed(north, client):
    provider = north[Provider]
    Provider.objects.for_workspace(north.workspace.pk).filter(pk=provider.pk).update(type="openai")
    client.patch(f"/api/v1/providers/{provider.pk}/", {"base_url": "https://one.example.org/v1", "api_key": SECRET})

    event = AuditEvent.objects.first()

    assert (event.object_type, event.object_id, event.object_name) == ("provider", provider.pk, "north provider")
    assert event.changes == {
        "base_url": {"before": "", "after": "https://one.example.org/v1"},
        "api_key": "changed",
    }


def test_a_change_of_relations_is_noted(north, client):
    search, source = north[RetrievalTool], north[KnowledgeSource]
    client.post(f"/api/v1/retrieval-tools/{search.pk}/variants/", {})

    client.patch(f"/api/v1/retrieval-tools/{search.pk}/variants/2/", {"sources": [], "top_k": 9})

    assert AuditEvent.objects.first().changes == {
        "top_k": {"before": 5, "after": 9},
        "sources": {"before": [str(source.pk)], "after": []},
    }


def test_a_refused_change_leaves_no_event(north, client):
    before = events_so_far()

    client.patch(f"/api/v1/providers/{north[Provider].pk}/", {"slug": "not a slug"})
    client.delete(f"/api/v1/providers/{north[Provider].pk}/")

    assert new_events(before) == []


def test_the_admin_leaves_events_too(north, boss):
    admin = Client(REMOTE_ADDR="192.0.2.8")
    admin.force_login(boss)
    tool = north[RagTool]
    form = {
        "name": "Other",
        "slug": tool.slug,
        "header": "",
        "sample_questions": "",
        "description": "",
        "expected_version": 1,
    }
    before = events_so_far()

    assert admin.post(url("change", tool), form).status_code == 302
    assert admin.post(url("delete", north[KnowledgeSource]), {"post": "yes"}).status_code == 200  # it is in use
    admin.post("/admin/accounts/apikey/add/", {"name": "from the admin", "scopes": ["read"]})

    told = [(event.action, event.object_type, event.door, event.actor_name) for event in new_events(before)]
    assert told == [("update", "RAG tool", "admin", boss.email), ("create", "API key", "admin", boss.email)]
    assert new_events(before)[0].changes["name"] == {"before": "north qa", "after": "Other"}


def test_a_command_is_a_door_too(north, boss, monkeypatch):
    monkeypatch.setattr("sys.argv", ["manage.py", "create_api_key"])
    before = events_so_far()

    call_command("create_api_key", "ci", workspace="north", user=boss.email, stdout=io.StringIO())

    (event,) = new_events(before)
    assert (event.action, event.door, event.object_name[:3]) == ("create", "command", "ci ")
    assert event.actor_name


def test_sign_ins_are_noted_with_the_failed_ones(north):
    member = MembershipFactory(workspace=north.workspace, role=Role.VIEWER)
    update_last_login(None, member.user)
    page, before = Client(), events_so_far()

    for _ in range(MAX_TRIES):
        page.post("/panel/login/", {"username": member.user.email, "password": "my other secret"})
    APIClient().post("/api/v1/session/", {"email": "my secret password", "password": "x"})
    APIClient().post("/api/v1/session/", {"email": member.user.email, "password": PASSWORD}, REMOTE_ADDR="192.0.2.9")

    noted = new_events(before)
    assert [event.action for event in noted] == ["login_failed"] * MAX_TRIES + ["locked_out", "login_failed", "login"]
    assert {event.object_id for event in noted[: MAX_TRIES + 1]} == {member.user_id}
    assert noted[-2].object_name == "unknown"
    assert (noted[-1].address, noted[-1].door, noted[-1].workspace_id) == ("192.0.2.9", "api", None)
    assert "secret" not in str([vars(event) for event in noted])


def test_admins_read_the_events_of_their_workspace_alone(north, south, client):
    person = MembershipFactory(workspace=north.workspace, role=Role.VIEWER).user
    stranger = MembershipFactory(workspace=south.workspace).user
    for user in (person, stranger):
        APIClient().post("/api/v1/session/", {"email": user.email, "password": PASSWORD})
    client.patch(f"/api/v1/providers/{north[Provider].pk}/", {"description": "d"})

    told = client.get("/api/v1/audit-events/?limit=200").json()["results"]

    assert told[0]["action"] == "update"
    assert {event["object_name"] for event in told if event["action"] == "login"} == {str(person)}
    assert "south" not in json.dumps(told)
    updates = client.get(f"/api/v1/audit-events/?action=update&object_id={north[Provider].pk}").json()["results"]
    assert [event["id"] for event in updates] == [told[0]["id"]]
    assert client.get(f"/api/v1/audit-events/{told[0]['id']}/").json() == told[0]
    for method in ("post", "patch", "put", "delete"):
        assert getattr(client, method)(f"/api/v1/audit-events/{told[0]['id']}/", {}).status_code == 405


def test_the_admin_shows_the_log_and_lets_nobody_change_it(north, boss, client):
    client.patch(f"/api/v1/providers/{north[Provider].pk}/", {"description": "told to nobody"})
    event = AuditEvent.objects.first()
    browser = Client()
    browser.force_login(boss)

    assert "north provider" in browser.get("/admin/accounts/auditevent/?action__exact=update").content.decode()
    assert "told to nobody" in browser.get(url("change", event)).content.decode()
    assert browser.get("/admin/accounts/auditevent/add/").status_code == 403
    assert browser.post(url("delete", event), {"post": "yes"}).status_code == 403
    assert north.client(Role.OPERATOR).get("/admin/accounts/auditevent/").status_code == 403


def test_the_database_refuses_to_change_or_delete_an_event(north):
    event = AuditEvent.objects.first()

    for attempt in (event.delete, AuditEvent.objects.all().delete, lambda: AuditEvent.objects.update(action="x")):
        with pytest.raises(DatabaseFailure, match="never changed or deleted"), transaction.atomic():
            attempt()

    with connection.cursor() as cursor, pytest.raises(DatabaseFailure), transaction.atomic():
        cursor.execute("DELETE FROM accounts_auditevent")
    assert AuditEvent.objects.filter(pk=event.pk).exists()


def test_values_are_kept_as_plain_json_and_long_ones_are_cut():
    assert shown({"a": [1, None, True, 1.5, {"b"}]}) == {"a": [1, None, True, 1.5, ["b"]]}
    assert shown("x" * (MAX_TEXT + 1)) == "x" * MAX_TEXT + f"… ({MAX_TEXT + 1} characters)"
