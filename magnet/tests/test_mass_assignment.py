"""What a body may not set is refused or ignored, and the row stays as it is."""

import pytest
from rest_framework.test import APIClient

from accounts.models import ApiKey, Group, Membership, User
from accounts.services import api_key_issue
from core.access import Role
from knowledge.models import KnowledgeSource
from llm.models import Model, Provider
from observability.models import Budget
from prompts.models import PromptTemplate, PromptVariant
from rag.models import RagTool, RagVariant, RetrievalTool, RetrievalVariant

pytestmark = pytest.mark.django_db
MESSAGES = {"messages": [{"role": "user", "content": "Hello."}]}
STOLEN = "00000000-0000-7000-8000-000000000001"


def hostile(south) -> dict[str, object]:
    return {
        "id": STOLEN, "pk": STOLEN, "workspace": str(south.workspace.pk), "workspace_id": str(south.workspace.pk),
        "owner": STOLEN, "user": str(south.principal.user_id), "user_id": str(south.principal.user_id),
        "created_by": str(south.principal.user_id), "is_public": True, "is_staff": True, "is_superuser": True,
        "role": "admin", "groups": [STOLEN], "memberships": [], "password": "x", "key_hash": "x", "secret_hash": "x",
        "public_id": "x", "created_at": "2001-01-01T00:00:00Z", "updated_at": "2001-01-01T00:00:00Z", "usage": 0,
        "version": 99, "status": "published", "is_active": False, "number": 99, "parent": STOLEN, "active_index": None,
        "last_used_at": "2001-01-01T00:00:00Z", "revoked_at": "2001-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
def client(north) -> APIClient:
    admin = Membership.objects.get(workspace=north.workspace, role=Role.ADMIN)
    client = APIClient()
    issued = api_key_issue(user=admin.user, workspace=north.workspace, name="mass")
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}", HTTP_IF_MATCH="*")
    return client


def columns(row) -> dict[str, object]:
    fresh = type(row)._base_manager.values().get(pk=row.pk)
    return {name: str(value) for name, value in fresh.items() if name not in ("version", "updated_at")}


KINDS = {
    "providers": Provider,
    "prompt-templates": PromptTemplate,
    "knowledge-sources": KnowledgeSource,
    "retrieval-tools": RetrievalTool,
    "rag-tools": RagTool,
    "models": Model,
    "groups": Group,
    "members": Membership,
    "budgets": Budget,
}


# What an operator, or an admin, may change.
THEIRS = {"models": ["is_active"], "providers": ["is_active"], "budgets": ["is_active"], "members": ["role"]}


@pytest.mark.parametrize("resource", [*KINDS, "workspaces"])
def test_a_change_sets_nothing_that_is_not_the_callers(north, south, client, resource):
    row = north.workspace if resource == "workspaces" else north[KINDS[resource]]
    before, people = columns(row), list(User.objects.order_by("pk").values())
    body = hostile(south)
    for allowed in THEIRS.get(resource, ()):
        del body[allowed]

    answer = client.patch(f"/api/v1/{resource}/{row.pk}/", body)

    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json()["id"] == str(row.pk)
        assert answer.json()["version"] == 2
    assert columns(row) == before
    assert list(User.objects.order_by("pk").values()) == people


@pytest.mark.parametrize(
    "resource, kind",
    [("prompt-templates", PromptVariant), ("rag-tools", RagVariant), ("retrieval-tools", RetrievalVariant)],
)
def test_a_draft_cannot_be_moved_published_or_renumbered(north, south, client, resource, kind):
    parent = north[kind].parent
    assert client.post(f"/api/v1/{resource}/{parent.pk}/variants/", {}).status_code == 201
    draft = parent.variants.get(status="draft")
    before = columns(draft)

    answer = client.patch(f"/api/v1/{resource}/{parent.pk}/variants/2/", hostile(south))

    assert answer.status_code in (200, 400)
    assert columns(draft) == before


@pytest.mark.parametrize(
    "resource, kind, body",
    [
        ("providers", Provider, {"name": "New", "slug": "new", "type": "local"}),
        ("knowledge-sources", KnowledgeSource, {"name": "New", "slug": "new"}),
        ("api-keys", ApiKey, {"name": "new"}),
        ("retrieval-tools", RetrievalTool, {"name": "New", "slug": "new"}),
        ("prompt-templates", PromptTemplate, {"name": "New", "slug": "new", "variant": MESSAGES}),
        ("groups", Group, {"name": "New", "slug": "new"}),
        ("members", Membership, {"email": "new@example.org", "role": "viewer"}),
        ("budgets", Budget, {"name": "New", "slug": "new", "unit": "tokens", "limit": "5"}),
    ],
)
def test_a_new_row_belongs_to_its_caller_whatever_the_body_says(north, south, client, resource, kind, body):
    answer = client.post(f"/api/v1/{resource}/", {**hostile(south), **body})

    assert answer.status_code == 201
    row = kind._base_manager.get(pk=answer.json()["id"])
    assert str(row.pk) != STOLEN
    assert row.workspace_id == north.workspace.pk
    assert row.created_at.year > 2001
    if isinstance(row, ApiKey | Membership):
        assert row.user != south.principal.user
    if isinstance(row, ApiKey):
        assert row.revoked_at is row.last_used_at is None
    if isinstance(row, Membership):
        assert row.role == Role.VIEWER
        assert [row.user.is_staff, row.user.is_superuser, row.user.has_usable_password()] == [False] * 3
