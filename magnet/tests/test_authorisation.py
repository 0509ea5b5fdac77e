"""The table of who may call what, tried cell by cell, and proof that the tests would notice a missing filter.

The expectations come from docs/authorisation.md, which people read and sign.
"""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from accounts.keys import new_key
from accounts.models import ApiKey, AuditEvent, AuditEventQuerySet, Membership, User
from accounts.services import api_key_issue, api_key_revoke
from accounts.tests.factories import MembershipFactory, UserFactory
from core.access import Role, Scope
from core.compiled import Compiled
from core.models import WorkspaceManager
from llm.choices import ModelKind
from llm.models import Model
from magnet.authorisation import ANYBODY, APIS, PUBLIC, Operation, document, operations, read_document, routes
from magnet.tests.admin_world import World
from magnet.tests.api_walk import KINDS
from observability.models import Run, Trace
from rag.models import RagTool

pytestmark = pytest.mark.django_db
DOCUMENT = settings.BASE_DIR / "docs" / "authorisation.md"
TABLE = read_document(DOCUMENT.read_text())
PROTECTED = [one for one in TABLE if one.role != "nobody"]
WITH_ID = [one for one in PROTECTED if "{id}" in one.path]
LISTS = [one for one in PROTECTED if "{id}" not in one.path and one.method == "GET"]
# A role below the needed one that is told 404 instead of 403 would be fine, too; nothing does so today.
REFUSED = {401, 403}


@dataclass
class Site:
    """Two workspaces with a row of each kind; north is called, south's people must not notice it."""

    north: World
    south: World
    members: dict[Role, Membership]
    boss: User
    keys: dict[str, str]


def _key(membership: Membership, scopes=tuple(Scope), **values) -> str:
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="x", scopes=scopes)
    if values:
        ApiKey._unscoped.filter(pk=issued.key.pk).update(**values)
    return issued.text


@pytest.fixture(scope="module")
def site(worlds: tuple[World, World], django_db_blocker) -> Site:
    north, south = worlds
    with django_db_blocker.unblock():
        for made in (north, south):
            made.rows[Model] = next(
                one for one in Model.objects.for_workspace(made.workspace.pk) if one.kind == ModelKind.CHAT
            )
        members = {role: MembershipFactory(workspace=north.workspace, role=role) for role in Role}
        admin, boss = members[Role.ADMIN], UserFactory(is_superuser=True)
        superuser = MembershipFactory(workspace=north.workspace, user=boss, role=Role.ADMIN)
        revoked = api_key_issue(user=admin.user, workspace=north.workspace, name="revoked")
        api_key_revoke(revoked.key)
        keys = {
            "expired": _key(admin, expires_at=timezone.now() - timedelta(seconds=1)),
            "revoked": revoked.text,
            "elsewhere": _key(Membership.objects.get(workspace=south.workspace)),
            "superuser": _key(superuser),
            **{role.value: _key(member) for role, member in members.items()},
            **{f"scope {scope.value}": _key(superuser, [scope]) for scope in Scope},
        }
        return Site(north, south, members, boss, keys)


def path_of(site: Site, operation: Operation) -> str:
    """The operation's path with the ids of north's rows."""
    if operation.path.startswith("/v1/"):
        return operation.path.format(id=site.north.rows[RagTool].pk)
    resource = operation.path.split("/")[3]
    row = site.north.workspace if resource == "workspaces" else site.north.rows.get(KINDS.get(resource))
    values = {"n": 1, "a": 1, "b": 1, "external_id": "new.md", "id": row.pk if row else None}
    return operation.path.format(**values)


def call(site: Site, operation: Operation, client: APIClient, caller: User | None = None) -> tuple[int, bytes]:
    """The status and body of a call without a body; whatever it changed is undone."""
    with transaction.atomic():
        if caller is not None:  # some rights are over one's own runs, traces and keys only
            for model in (Run, Trace, ApiKey):
                model._unscoped.filter(pk=site.north[model].pk).update(user=caller)
            ApiKey._unscoped.filter(pk=site.north[ApiKey].pk).update(scopes=[Scope.MANAGE])
        response = client.generic(operation.method, path_of(site, operation), content_type="application/json")
        body = b"" if response.streaming else response.content
        transaction.set_rollback(True)
    assert response.status_code < 500 or response.status_code in (502, 503), body
    return response.status_code, body


def with_key(text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


each = pytest.mark.parametrize("operation", PROTECTED, ids=name)


# --- the table


def test_the_table_is_what_the_code_does():
    assert DOCUMENT.read_text() == document()
    assert sorted(TABLE) == operations()
    call_command("authorisation_matrix", "--check")


def test_a_table_that_is_out_of_date_is_noticed(monkeypatch, tmp_path, settings):
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()

    with pytest.raises(CommandError, match="out of date"):
        call_command("authorisation_matrix", "--check")
    call_command("authorisation_matrix")
    call_command("authorisation_matrix", "--check")


def test_the_public_list_is_short():
    assert len(PUBLIC) <= 10


def test_every_operation_of_the_api_is_in_the_schema():
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item if method != "parameters"}

    assert {(one.method, one.path) for one in TABLE} == described


def test_every_other_route_is_public_or_sends_strangers_to_sign_in(site):
    client = APIClient()
    public = {path for _, path in PUBLIC}
    ours = [path for path, _ in routes() if not path.startswith(APIS)]
    tried = 0

    for path in ours:
        if path in public or path.startswith("/^") or path == "/metrics":  # test_metrics.py
            continue
        assert path.startswith(("/admin/", "/panel/")), path
        if "^" in path or path in ("/admin/login/", "/admin/logout/", "/panel/logout/"):
            continue
        url = path
        for part in ("{pk}", "{object_id}", "{slug}", "{n}", "{a}", "{b}", "{app_label}", "{content_type_id}"):
            url = url.replace(part, "1" if part in ("{n}", "{a}", "{b}") else str(site.north[Run].pk))
        for method in ("get", "post"):
            answer = getattr(client, method)(url)
            tried += 1
            assert (answer.status_code, "login" in answer.get("Location", "")) == (302, True), (method, url)
    assert tried > 100


# --- each cell


@each
def test_nobody_without_valid_credentials(site, operation):
    for text in ("", str(new_key()), site.keys["expired"], site.keys["revoked"]):
        client = with_key(text) if text else APIClient()
        status, body = call(site, operation, client)
        assert status == 401
        assert b"north" not in body.replace(b"/north", b"")


@each
def test_each_role(site, operation):
    least = {ANYBODY: Role.USER, "superuser": None}.get(operation.role, operation.role)
    for role, member in site.members.items():
        status, _ = call(site, operation, with_key(site.keys[role.value]), member.user)
        allowed = least is not None and role.rank >= Role(least).rank
        assert (status not in REFUSED) is allowed, (role, status)
    assert call(site, operation, with_key(site.keys["superuser"]), site.boss)[0] not in REFUSED


@each
def test_each_scope(site, operation):
    for scope in Scope:
        status, _ = call(site, operation, with_key(site.keys[f"scope {scope.value}"]), site.boss)
        assert (status not in REFUSED) is (scope.value in (operation.scope or scope.value).split(" or ")), (
            scope,
            status,
        )


@each
def test_a_session_needs_its_csrf_token_for_changes(site, operation):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(site.members[Role.ADMIN].user)
    token = client.get("/api/v1/session/").json()["csrf_token"]

    admin = site.members[Role.ADMIN].user
    without, _ = call(site, operation, client, admin)
    client.credentials(HTTP_X_CSRFTOKEN=token)
    with_token, _ = call(site, operation, client, admin)

    if operation.role != "superuser":
        assert with_token not in REFUSED
    assert (without == 403) is (operation.method != "GET")


# --- another workspace


def keeps_apart(site: Site, operation: Operation) -> None:
    """What south's admin gets of north's row: nothing, and not the news that it exists."""
    status, body = call(site, operation, with_key(site.keys["elsewhere"]))
    assert status == 404
    assert b"There is no " in body
    assert site.north.marker.encode() not in body


@pytest.mark.parametrize("operation", WITH_ID, ids=name)
def test_rows_of_another_workspace_do_not_exist(site, operation):
    keeps_apart(site, operation)


@pytest.mark.parametrize(
    "operation", [one for one in PROTECTED if one.path.endswith("/") and one.method == "GET"], ids=name
)
def test_lists_hold_nothing_of_another_workspace(site, operation):
    if "{id}" not in operation.path:
        status, body = call(site, operation, with_key(site.keys["elsewhere"]))
        assert status == 200
        assert b"north" not in body


@pytest.mark.parametrize("operation", WITH_ID, ids=name)
def test_a_view_that_forgets_the_workspace_is_noticed(site, operation, monkeypatch):
    """The mutation that matters: without the filter, the test above must fail for every route."""
    if operation.path.startswith("/api/v1/workspaces/"):
        monkeypatch.setattr(
            "accounts.api.views.WorkspaceViewSet.get_queryset", lambda _: type(site.north.workspace).objects.all()
        )
    else:
        monkeypatch.setattr("accounts.api.members.members_of", lambda _: Membership.objects.all())
        everything = AuditEvent.objects.all()
        monkeypatch.setattr(AuditEventQuerySet, "for_workspace", lambda *_: everything)
        monkeypatch.setattr(WorkspaceManager, "for_workspace", lambda self, _: self.model._unscoped.all())
        monkeypatch.setattr(Compiled, "_made", Compiled._make)  # SQL that was made before holds the filter

    with pytest.raises(AssertionError):
        keeps_apart(site, operation)
