"""Sharing: what is not shared with somebody of the role user is not there for them, in any door."""

import json
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from rest_framework.test import APIClient

from accounts.groups import group_create
from accounts.models import ApiKey, AuditEvent, Group, Membership
from accounts.services import api_key_issue, membership_remove
from accounts.sharing import shared_update
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role, Scope
from magnet.tests.admin_world import World
from magnet.tests.api_walk import operations
from observability.models import Run, Trace
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool

pytestmark = pytest.mark.django_db
KINDS = {"rag-tools": RagTool, "retrieval-tools": RetrievalTool, "prompt-templates": PromptTemplate}
OF_TOOLS = [one for one in operations() if one.route.split("/")[0] in KINDS and "<str:id>" in one.route]
PRIVATE = {"shared_with_everybody": False}


def client(membership: Membership, **options) -> APIClient:
    issued = api_key_issue(user=membership.user, workspace=membership.workspace, name="test", **options)
    made = APIClient()
    made.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.text}", HTTP_IF_MATCH="*")
    return made


@pytest.fixture
def ann(north: World) -> Membership:
    return MembershipFactory(workspace=north.workspace, role=Role.USER, user__email="ann@example.org")


@pytest.fixture
def operator(north: World) -> APIClient:
    return client(MembershipFactory(workspace=north.workspace, role=Role.OPERATOR))


@pytest.fixture
def private(north: World, operator: APIClient) -> dict[str, str]:
    """Addresses of north's tools, none of which is shared with anybody."""
    found = {kind: f"/api/v1/{kind}/{north[model].pk}/" for kind, model in KINDS.items()}
    for path in found.values():
        assert operator.patch(path, PRIVATE).status_code == 200
    return found


def statuses(caller: APIClient, paths: dict[str, str]) -> set[int]:
    return {caller.get(path).status_code for path in paths.values()}


def listed(caller: APIClient) -> list[int]:
    return [len(caller.get(f"/api/v1/{kind}/").json()["results"]) for kind in KINDS]


def test_existing_and_new_tools_are_shared_with_everybody(north, ann):
    for kind, model in KINDS.items():
        assert north[model].shared_with_everybody
        assert client(ann).get(f"/api/v1/{kind}/{north[model].slug}/").status_code == 200
    assert listed(client(ann)) == [1, 1, 1]


@pytest.mark.parametrize("operation", OF_TOOLS, ids=str)
def test_what_is_not_shared_is_not_there_in_any_verb(operation, north, ann, private):
    caller = client(ann)
    body = {"question": "q", "query": "q", "variables": {"context": "c", "question": "q"}}

    answer = caller.generic(operation.method, operation.path(north), "{}", content_type="application/json")
    full = caller.generic(operation.method, operation.path(north), json.dumps(body), content_type="application/json")
    nothing = caller.generic(operation.method, operation.path(north, id=str(uuid.uuid4())), "{}", "application/json")

    assert (answer.status_code, full.status_code, nothing.status_code) == (404, 404, 404)
    assert "north" not in answer.content.decode().replace(operation.path(north), "")


def test_lists_and_filters_hold_nothing_that_is_not_shared(north, ann, operator, private):
    assert listed(client(ann)) == [0, 0, 0]
    assert client(ann).get("/api/v1/rag-tools/", {"search": "north"}).json()["results"] == []
    assert listed(operator) == [1, 1, 1]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
def test_viewers_and_above_see_everything(role, north, private):
    assert statuses(client(MembershipFactory(workspace=north.workspace, role=role)), private) == {200}


def test_a_member_that_it_is_shared_with_finds_and_runs_it_and_no_other_does(north, ann, operator, private):
    bob = MembershipFactory(workspace=north.workspace, role=Role.USER)

    for path in private.values():
        shown = operator.patch(path, {"shared_with_members": ["ANN@example.org"]}).json()
        assert shown["shared_with_members"] == [str(ann.pk)]

    assert statuses(client(ann), private) == {200}
    assert statuses(client(bob), private) == {404}
    assert client(ann).post(f"{private['rag-tools']}query", {}).status_code == 400
    assert client(ann).delete(private["rag-tools"]).status_code == 403


def test_a_group_shares_with_whoever_is_in_it(north, ann, operator, private):
    group: Group = group_create(principal=north.principal, values={"name": "Team", "slug": "team", "members": [ann]})
    for path in private.values():
        assert operator.patch(path, {"shared_with_groups": ["team"]}).json()["shared_with_groups"] == [str(group.pk)]
    assert statuses(client(ann), private) == {200}

    group.members.clear()

    assert statuses(client(ann), private) == {404}


def test_a_withdrawn_share_counts_at_once(north, ann, operator, private):
    path = private["rag-tools"]
    operator.patch(path, {"shared_with_members": [str(ann.pk)]})
    assert client(ann).get(path).status_code == 200

    operator.patch(path, {"shared_with_members": []})

    assert client(ann).get(path).status_code == 404


def test_who_leaves_the_workspace_leaves_its_shares(north, ann, operator, private):
    operator.patch(private["rag-tools"], {"shared_with_members": [str(ann.pk)]})

    membership_remove(ann)

    assert operator.get(private["rag-tools"]).json()["shared_with_members"] == []


def test_a_user_is_not_told_who_else_may_run_it(north, ann, operator):
    path = f"/api/v1/rag-tools/{north[RagTool].pk}/"
    operator.patch(path, {"shared_with_members": [str(ann.pk)]})

    assert client(ann).get(path).json()["shared_with_members"] == []


@pytest.mark.parametrize("field", ["shared_with_members", "shared_with_groups"])
def test_nobody_and_no_group_of_another_workspace_can_be_named(field, north, south, operator):
    row = south[Membership] if field == "shared_with_members" else south[Group]
    path = f"/api/v1/rag-tools/{north[RagTool].pk}/"

    answer = operator.patch(path, {field: [str(row.pk)]})

    assert answer.status_code == 400
    assert operator.get(path).json()[field] == []


def test_a_change_of_sharing_raises_the_version_and_is_noted(north, ann, operator):
    path = f"/api/v1/rag-tools/{north[RagTool].pk}/"
    before = operator.get(path).headers["ETag"]

    operator.patch(path, {**PRIVATE, "shared_with_members": [str(ann.pk)]})

    assert operator.get(path).headers["ETag"] != before
    operator.credentials(**{**operator._credentials, "HTTP_IF_MATCH": before})
    assert operator.patch(path, PRIVATE).status_code == 412
    event = AuditEvent.objects.filter(object_id=north[RagTool].pk, action="update").first()
    assert event.changes == {
        "shared_with_everybody": {"before": True, "after": False},
        "shared_with_members": {"before": [], "after": ["ann@example.org"]},
    }


def test_a_group_in_use_is_not_deleted_and_names_what_uses_it(north, operator):
    path = f"/api/v1/rag-tools/{north[RagTool].pk}/"
    operator.patch(path, {"shared_with_groups": [north[Group].slug]})
    admin = client(MembershipFactory(workspace=north.workspace, role=Role.ADMIN))

    answer = admin.delete(f"/api/v1/groups/{north[Group].pk}/")

    assert answer.status_code == 409
    assert [one["id"] for one in answer.json()["errors"]] == [str(north[RagTool].pk)]


def test_ones_own_runs_and_traces_go_with_the_share_and_come_back_with_it(north, ann, operator):
    run, trace = north[Run], north[Trace]
    Run._unscoped.filter(pk=run.pk).update(user=ann.user)
    Trace._unscoped.filter(pk=trace.pk).update(user=ann.user)
    tool = f"/api/v1/rag-tools/{north[RagTool].pk}/"
    paths = {"run": f"/api/v1/runs/{run.pk}/", "trace": f"/api/v1/traces/{trace.pk}/"}
    assert statuses(client(ann), paths) == {200}

    operator.patch(tool, PRIVATE)
    assert statuses(client(ann), {**paths, "events": f"/api/v1/runs/{run.pk}/events"}) == {404}
    assert client(ann).post(f"/api/v1/runs/{run.pk}/cancel").status_code == 404
    assert client(ann).get("/api/v1/runs/").json()["results"] == []

    operator.patch(tool, {"shared_with_members": [str(ann.pk)]})
    assert statuses(client(ann), paths) == {200}


def test_the_panel_shows_what_is_shared_and_says_what_to_do_without(north, ann, operator, private):
    browser = Client()
    browser.force_login(ann.user)
    page = f"/panel/rag-tools/{north[RagTool].slug}/"

    assert browser.get(page).status_code == 404
    assert "Nothing is shared with you yet" in browser.get("/panel/").content.decode()

    operator.patch(private["rag-tools"], {"shared_with_members": [str(ann.pk)]})
    assert browser.get(page).status_code == 200
    assert north[RagTool].name in browser.get("/panel/").content.decode()


# --- keys that name tools


def test_a_key_that_names_tools_uses_those_alone(north, operator):
    member = MembershipFactory(workspace=north.workspace, role=Role.OPERATOR)
    limited = client(member, tools=[north[RagTool].pk])

    assert listed(limited) == [1, 0, 0]
    assert limited.get(f"/api/v1/retrieval-tools/{north[RetrievalTool].pk}/").status_code == 404
    assert limited.post(f"/api/v1/retrieval-tools/{north[RetrievalTool].pk}/search", {"query": "q"}).status_code == 404
    assert limited.get(f"/api/v1/retrieval-tools/{north[RetrievalTool].pk}/variants/").status_code == 404


def test_a_key_that_names_tools_sees_runs_of_those_alone(north):
    member = MembershipFactory(workspace=north.workspace, role=Role.OPERATOR)

    for tool, status in ((RagTool, 200), (RetrievalTool, 404)):
        limited = client(member, tools=[north[tool].pk])
        assert limited.get(f"/api/v1/runs/{north[Run].pk}/").status_code == status
        assert limited.get(f"/api/v1/traces/{north[Trace].pk}/").status_code == status


def test_a_key_is_never_wider_than_what_is_shared_with_its_user(north, ann, private):
    assert client(ann, tools=[north[RagTool].pk]).get(private["rag-tools"]).status_code == 404


def test_the_tools_of_a_key_are_shown_and_kept_by_its_successor(north):
    member = MembershipFactory(workspace=north.workspace, role=Role.OPERATOR)
    caller, named = client(member), [str(north[RagTool].pk)]

    made = caller.post("/api/v1/api-keys/", {"name": "limited", "tools": named}).json()
    next_one = caller.post(f"/api/v1/api-keys/{made['id']}/rotate", {}).json()

    assert made["tools"] == next_one["tools"] == named


def test_a_limited_key_hands_on_no_more_than_it_has(north):
    member = MembershipFactory(workspace=north.workspace, role=Role.OPERATOR)
    limited, named = client(member, tools=[north[RagTool].pk]), str(north[RagTool].pk)
    wide = api_key_issue(user=member.user, workspace=member.workspace, name="wide").key
    before = ApiKey._unscoped.count()

    beyond = limited.post("/api/v1/api-keys/", {"name": "x", "tools": [str(north[RetrievalTool].pk)]})
    rotated = limited.post(f"/api/v1/api-keys/{wide.pk}/rotate", {})
    assert (beyond.status_code, rotated.status_code, ApiKey._unscoped.count()) == (400, 403, before)

    assert limited.post("/api/v1/api-keys/", {"name": "x"}).json()["tools"] == [named]


def test_a_key_cannot_name_a_tool_of_another_workspace(north, south):
    caller = client(MembershipFactory(workspace=north.workspace, role=Role.OPERATOR), scopes=list(Scope))

    assert caller.post("/api/v1/api-keys/", {"name": "x", "tools": [str(south[RagTool].pk)]}).status_code == 400


def test_a_deleted_tool_does_not_widen_the_key(north):
    member = MembershipFactory(workspace=north.workspace, role=Role.OPERATOR)
    limited = client(member, tools=[uuid.uuid4()])

    assert listed(limited) == [0, 0, 0]


def test_the_admin_page_shares_and_searches_members_of_the_workspace_alone(north, south, ann):
    browser = north.client(Role.OPERATOR)
    tool, page = north[RagTool], f"/admin/rag/ragtool/{north[RagTool].pk}/change/"
    search = {"app_label": "rag", "model_name": "ragtoolshare", "field_name": "member", "term": ""}
    found = browser.get("/admin/autocomplete/", search).json()["results"]
    assert str(ann.pk) in {one["id"] for one in found}
    assert str(south[Membership].pk) not in {one["id"] for one in found}

    form = {
        "name": tool.name, "slug": tool.slug, "header": "", "sample_questions": "", "description": "",
        "expected_version": tool.version, "shared_with_members": [str(ann.pk)],
        "shared_with_groups": [str(north[Group].pk)],
    }  # fmt: skip
    assert browser.post(page, form).status_code == 302

    tool.refresh_from_db()
    assert (tool.shared_with_everybody, tool.shared_with_members, tool.shared_with_groups) == (
        False, [ann], [north[Group]],
    )  # fmt: skip
    refused = browser.post(page, {**form, "expected_version": 2, "shared_with_members": [str(south[Membership].pk)]})
    assert refused.status_code == 200
    assert "ann@example.org" in browser.get(page).content.decode()


def test_nothing_is_shared_with_people_and_groups_of_another_workspace(north):
    stranger = MembershipFactory(role=Role.ADMIN)
    theirs = group_create(principal=principal_of(stranger), values={"name": "Theirs", "slug": "theirs"})

    for values in ({"shared_with_members": [stranger]}, {"shared_with_groups": [theirs]}):
        with pytest.raises(ValidationError, match="another workspace"):
            shared_update(north[PromptTemplate], values)

    assert not north[PromptTemplate].shares.exists()


def test_a_share_is_named_by_tool_and_receiver(north, ann):
    template = shared_update(north[PromptTemplate], {"shared_with_members": [ann]})

    assert str(template.shares.get()) == f"{template}: {ann}"
