import uuid

import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, Membership, Workspace
from accounts.tests.factories import MembershipFactory, UserFactory
from core.access import Role, Scope

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def login(user) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


# --- session


def test_login_shows_the_caller_and_sets_a_session(member):
    client = APIClient()

    answer = client.post("/api/v1/session/", {"email": member.user.email.upper(), "password": PASSWORD})

    assert answer.status_code == 200
    assert answer.json()["user"]["email"] == member.user.email
    assert [w["role"] for w in answer.json()["workspaces"]] == ["operator"]
    assert answer.json()["csrf_token"]
    assert client.get("/api/v1/session/").json()["user"]["id"] == str(member.user_id)


def test_a_wrong_password_is_a_401_problem_without_a_session(member):
    client = APIClient()

    answer = client.post("/api/v1/session/", {"email": member.user.email, "password": "wrong"})

    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_authenticated"
    assert client.get("/api/v1/session/").status_code == 401


def test_login_needs_both_fields():
    answer = APIClient().post("/api/v1/session/", {"email": "a@b.c"})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"pointer": "/password", "code": "required", "detail": "This field is required."}
    ]


def test_logout_ends_the_session(member):
    client = login(member.user)

    assert client.delete("/api/v1/session/").status_code == 204
    assert client.get("/api/v1/session/").status_code == 401


def test_login_from_a_browser_needs_the_csrf_token(member):
    client = APIClient(enforce_csrf_checks=True)
    body = {"email": member.user.email, "password": PASSWORD}

    refused = client.post("/api/v1/session/", body, HTTP_ORIGIN="http://evil.example")

    assert refused.status_code == 403
    assert "X-CSRFToken" in refused.json()["detail"]
    assert client.post("/api/v1/session/", body).status_code == 200


def test_a_session_needs_the_csrf_token_for_changes(member):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(member.user)

    answer = client.post("/api/v1/api-keys/", {"name": "x"})

    assert answer.status_code == 403
    assert not ApiKey._unscoped.exists()


# --- authentication


@pytest.mark.parametrize("path", ["session", "workspaces", "api-keys"])
def test_nothing_is_open_without_credentials(path):
    answer = APIClient().get(f"/api/v1/{path}/")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == 'Bearer realm="magnet"'
    assert answer.json()["status"] == 401


def test_a_garbage_key_is_401_even_with_a_session(member):
    client = login(member.user)

    answer = client.get("/api/v1/session/", HTTP_AUTHORIZATION="Bearer mk_x_y")

    assert answer.status_code == 401


def test_the_key_may_come_in_x_api_key(member, issue):
    answer = APIClient().get("/api/v1/api-keys/", HTTP_X_API_KEY=issue(member)[1])

    assert answer.status_code == 200


def test_a_key_in_the_query_string_does_not_count(member, issue):
    assert APIClient().get(f"/api/v1/api-keys/?api_key={issue(member)[1]}").status_code == 401


def test_a_key_cannot_name_another_workspace(member, client_of):
    other = MembershipFactory(user=member.user)

    answer = client_of(member).get("/api/v1/api-keys/", HTTP_X_WORKSPACE=other.workspace.slug)

    assert answer.status_code == 400
    assert member.workspace.slug in answer.json()["detail"]


def test_unknown_routes_are_problems_too():
    answer = APIClient().get("/api/v1/nothing/here")

    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["instance"] == "/api/v1/nothing/here"


# --- workspaces


def test_workspaces_are_the_callers_own(member):
    MembershipFactory()

    answer = login(member.user).get("/api/v1/workspaces/")

    assert [w["slug"] for w in answer.json()["results"]] == [member.workspace.slug]
    assert (answer.json()["next"], answer.json()["prev"]) == (None, None)


def test_a_key_sees_its_workspace_only(member, client_of):
    other = MembershipFactory(user=member.user)

    client = client_of(member)

    assert [w["slug"] for w in client.get("/api/v1/workspaces/").json()["results"]] == [member.workspace.slug]
    assert client.get(f"/api/v1/workspaces/{other.workspace.slug}/").status_code == 404


def test_a_foreign_workspace_is_404(member):
    foreign = MembershipFactory().workspace
    client = login(member.user)

    for reference in (foreign.slug, foreign.pk, uuid.uuid4(), "nothing"):
        assert client.get(f"/api/v1/workspaces/{reference}/").status_code == 404


def test_a_superuser_creates_a_workspace_and_is_its_admin():
    boss = UserFactory(is_superuser=True)

    answer = login(boss).post("/api/v1/workspaces/", {"name": "Sales", "slug": "sales"})

    assert answer.status_code == 201
    assert answer["ETag"] == '"1"'
    assert Membership.objects.get(user=boss).workspace.slug == "sales"


def test_nobody_else_creates_a_workspace(member):
    answer = login(member.user).post("/api/v1/workspaces/", {"name": "Sales", "slug": "sales"})

    assert answer.status_code == 403
    assert not Workspace.objects.filter(slug="sales").exists()


def test_a_key_needs_manage_to_create_a_workspace(client_of):
    boss = MembershipFactory(user__is_superuser=True, role=Role.ADMIN)

    answer = client_of(boss, scopes=[Scope.READ]).post("/api/v1/workspaces/", {"name": "Sales", "slug": "sales"})

    assert answer.status_code == 403
    assert "manage" in answer.json()["detail"]


def test_renaming_asks_for_the_version():
    admin = MembershipFactory(role=Role.ADMIN)
    client = login(admin.user)
    url = f"/api/v1/workspaces/{admin.workspace.slug}/"

    assert client.patch(url, {"name": "A"}).status_code == 428
    assert client.patch(url, {"name": "A"}, HTTP_IF_MATCH='"7"').status_code == 412
    renamed = client.patch(url, {"name": "A"}, HTTP_IF_MATCH=client.get(url)["ETag"])

    assert (renamed.status_code, renamed["ETag"], renamed.json()["name"]) == (200, '"2"', "A")
    assert client.patch(url, {"name": "B"}, HTTP_IF_MATCH="*").json()["version"] == 3


def test_renaming_takes_an_admin(member):
    answer = login(member.user).patch(f"/api/v1/workspaces/{member.workspace.slug}/", {"name": "A"}, HTTP_IF_MATCH="*")

    assert answer.status_code == 403


# --- keys


def test_a_key_is_shown_once(member):
    client = login(member.user)

    created = client.post("/api/v1/api-keys/", {"name": "ci", "scopes": ["read", "run"]})
    listed = client.get("/api/v1/api-keys/").json()["results"]

    assert created.status_code == 201
    assert created.json()["key"].startswith(created.json()["prefix"])
    assert created.json()["scopes"] == ["read", "run"]
    assert "key" not in listed[0]
    assert APIClient().get("/api/v1/api-keys/", HTTP_X_API_KEY=created.json()["key"]).status_code == 200


def test_a_key_hands_on_only_its_own_scopes(member, client_of):
    client = client_of(member, scopes=[Scope.READ, Scope.MANAGE])

    wider = client.post("/api/v1/api-keys/", {"name": "x", "scopes": ["run"]})
    same = client.post("/api/v1/api-keys/", {"name": "x"})

    assert wider.status_code == 403
    assert same.json()["scopes"] == ["manage", "read"]


def test_making_and_revoking_keys_needs_the_scope(member, client_of, issue):
    client = client_of(member, scopes=[Scope.READ])
    key, _ = issue(member)

    assert client.post("/api/v1/api-keys/", {"name": "x"}).status_code == 403
    assert client.delete(f"/api/v1/api-keys/{key.pk}/").status_code == 403
    key.refresh_from_db()
    assert key.revoked_at is None


def test_a_revoked_key_stays_in_the_list(member, issue):
    key, text = issue(member)
    client = login(member.user)

    assert client.delete(f"/api/v1/api-keys/{key.pk}/").status_code == 204

    assert client.get(f"/api/v1/api-keys/{key.pk}/").json()["status"] == "revoked"
    assert APIClient().get("/api/v1/api-keys/", HTTP_X_API_KEY=text).status_code == 401


def test_other_peoples_keys_are_an_admins_matter(member, issue):
    colleague = MembershipFactory(workspace=member.workspace)
    admin = MembershipFactory(workspace=member.workspace, role=Role.ADMIN)
    key, _ = issue(colleague)

    assert login(member.user).get(f"/api/v1/api-keys/{key.pk}/").status_code == 404
    assert login(admin.user).get(f"/api/v1/api-keys/{key.pk}/").json()["user"] == colleague.user.email


def test_keys_of_another_workspace_do_not_exist(member, issue):
    foreign, _ = issue(MembershipFactory())

    answer = login(member.user).get(f"/api/v1/api-keys/{foreign.pk}/")

    assert answer.status_code == 404


# --- lists


def test_pages_follow_the_cursor(member, issue):
    keys = {str(issue(member)[0].pk) for _ in range(5)}
    client = login(member.user)

    seen: list[str] = []
    url = "/api/v1/api-keys/?limit=2"
    while url:
        page = client.get(url).json()
        seen += [row["id"] for row in page["results"]]
        url = page["next"]

    assert len(seen) == 5
    assert set(seen) == keys


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=-1"])
def test_a_page_size_out_of_bounds_is_a_400(member, query):
    answer = login(member.user).get(f"/api/v1/api-keys/?{query}")

    assert answer.status_code == 400
    assert "1 to 200" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["colour=red", "ordering=secret_hash", "ordering=nothing"])
def test_unknown_filters_and_orderings_are_a_400(member, query):
    assert login(member.user).get(f"/api/v1/api-keys/?{query}").status_code == 400


def test_lists_are_ordered_and_searched(member, issue):
    client = login(member.user)
    for name in ("beta", "alpha"):
        client.post("/api/v1/api-keys/", {"name": name})

    ordered = client.get("/api/v1/api-keys/?ordering=name").json()["results"]
    found = client.get("/api/v1/api-keys/?search=alp").json()["results"]

    assert [row["name"] for row in ordered] == ["alpha", "beta"]
    assert [row["name"] for row in found] == ["alpha"]
