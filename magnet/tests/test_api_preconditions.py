"""ETag and If-Match on everything that operators configure, and what is checked before what."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from rest_framework.test import APIClient

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.exceptions import NotFound
from core.models import VersionedModel
from core.versions import save_version
from llm.models import Provider
from magnet.tests.api_walk import client_of, operations, send
from prompts.models import PromptTemplate
from prompts.services import prompt_create

CONFIGURED = [
    operation
    for operation in operations()
    if operation.action in {"partial_update", "destroy"}
    and issubclass(getattr(operation.view, "model", None) or operation.view.queryset.model, VersionedModel)
]


def test_all_kinds_are_tried():
    kinds = {operation.route.split("/")[0] for operation in CONFIGURED}
    assert kinds >= {"workspaces", "providers", "models", "prompt-templates", "knowledge-sources", "rag-tools"}
    assert sum("variants" in operation.route for operation in CONFIGURED) == 3


@pytest.mark.parametrize("operation", CONFIGURED, ids=str)
def test_a_change_names_the_version_it_is_of(operation, north):
    client, path = client_of(north), operation.path(north)
    before = client.get(path)
    version = before.json()["version"]
    assert before["ETag"] == f'"{version}"'

    missing = send(client, operation, path, {})
    stale = send(client, operation, path, {}, **{"If-Match": f'"{version + 1}"'})
    nonsense = send(client, operation, path, {}, **{"If-Match": "nonsense"})

    assert (missing.status_code, missing.json()["code"]) == (428, "precondition_required")
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    assert nonsense.status_code == 412
    assert client.get(path).json() == before.json()


@pytest.mark.parametrize("operation", [one for one in CONFIGURED if one.method == "PATCH"], ids=str)
def test_a_change_raises_the_version_and_the_old_one_is_stale_then(operation, north):
    client, path = client_of(north), operation.path(north)
    if "variants" in operation.route:  # published ones are frozen
        root = path.removesuffix("1/")
        assert client.post(root, {}).status_code == 201
        path = f"{root}2/"
    tag = client.get(path)["ETag"]
    body = {"note": "New"} if "variants" in operation.route else {"name": "New"}

    first = send(client, operation, path, body, **{"If-Match": tag})
    second = send(client, operation, path, body, **{"If-Match": tag})
    listed = send(client, operation, path, body, **{"If-Match": f'"99", {first["ETag"]}'})

    assert (first.status_code, second.status_code, listed.status_code) == (200, 412, 200)
    assert first["ETag"] == f'"{first.json()["version"]}"' != tag


@pytest.mark.parametrize("operation", CONFIGURED, ids=str)
def test_what_is_checked_before_what(operation, north, south):
    path = operation.path(north)
    broken = b"{"

    anonymous = send(APIClient(), operation, path, broken)
    foreign = send(client_of(south), operation, path, broken)
    viewer = send(client_of(north, Role.VIEWER), operation, path, broken)
    unconditional = send(client_of(north), operation, path, broken)

    assert (anonymous.status_code, foreign.status_code, unconditional.status_code) == (401, 404, 428)
    assert viewer.status_code == 403
    if operation.method == "PATCH":
        read = send(client_of(north), operation, path, broken, **{"If-Match": "*"})
        assert (read.status_code, read.json()["code"]) == (400, "parse_error")


def test_a_publish_may_name_its_version(north):
    client, root = client_of(north), f"/api/v1/prompt-templates/{north[PromptTemplate].pk}/variants/"
    client.post(root, {})

    assert client.post(f"{root}2/publish", headers={"If-Match": '"7"'}).status_code == 412
    assert client.post(f"{root}2/publish", headers={"If-Match": '"1"'}).status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["patch", "delete"])
def test_of_two_changes_at_once_one_is_stale(method):
    member = MembershipFactory(role=Role.OPERATOR)
    values = {"name": "Greeting", "slug": "greeting"}
    prompt_create(
        principal=principal_of(member), values=values, variant={"messages": [{"role": "user", "content": "Hello"}]}
    )
    both = threading.Barrier(2)

    def change(to: str) -> int:
        client = APIClient()
        client.force_login(member.user)
        both.wait()
        try:
            send_it = client.patch if to == "a" else getattr(client, method)
            answer = send_it("/api/v1/prompt-templates/greeting/", {"name": to}, headers={"If-Match": '"1"'})
            return answer.status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(change, ["a", "b"]))

    assert statuses in ([200, 412], [204, 404], [204, 412])
    assert statuses != [204, 412] or method == "delete"


def test_a_row_that_is_gone_is_not_found(north):
    provider = Provider(workspace=north.workspace, name="P", slug="p")

    with pytest.raises(NotFound, match="deleted in between"):
        save_version(provider, expected=1)
