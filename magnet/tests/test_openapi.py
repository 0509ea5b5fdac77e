"""The OpenAPI description says of each operation who may call it, what it takes and what it can answer."""

import re

import pytest

from core.api.schema_parts import MEANINGS
from magnet.authorisation import ANYBODY, APIS, PUBLIC
from magnet.authorisation import operations as table
from magnet.tests.api_walk import operations
from magnet.tests.contract import described, described_as, description
from magnet.tests.test_api_preconditions import CONFIGURED
from observability.api.runs import RunView

OPERATIONS = [one for one in described() if one.path.startswith("/api/v1/")]
each = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


def headers_of(operation) -> dict[str, bool]:
    return {one["name"]: one.get("required", False) for one in operation.parameters if one["in"] == "header"}


@each
def test_it_has_a_name_a_group_and_a_summary(operation):
    resource = operation.path.split("/")[3]
    assert re.fullmatch(r"[a-z][a-z_]+", str(operation))
    assert str(operation).startswith(resource.replace("-", "_"))
    assert [tag.lower().replace(" ", "-") for tag in operation.operation["tags"]] == [resource]
    assert 3 < len(operation.operation["summary"]) < 160
    assert operation.operation["description"]


def test_names_are_of_one_operation_each():
    names = [str(one) for one in OPERATIONS]
    assert len(set(names)) == len(names) > 80


def test_rights_are_those_of_the_authorisation_table():
    words = {"member": ANYBODY}
    told = {
        (one.path, one.method): (words.get(access["role"], access["role"]), access["scope"])
        for one in described()
        if one.path.startswith(APIS)
        for access in [one.operation["x-magnet-access"]]
    }

    assert told == {(one.path, one.method): (one.role, one.scope) for one in table()}


@each
def test_credentials_are_asked_but_for_the_public_list(operation):
    public = (operation.method, operation.path) in PUBLIC
    asked = [name for one in operation.operation.get("security", ()) for name in one]

    assert asked == ([] if public else ["apiKey", "session"])
    assert ("no credentials" in operation.operation["description"]) is public


@each
def test_problems_are_declared_and_have_their_shape(operation):
    statuses = {status for status in operation.answers if int(status) >= 400}

    assert statuses >= {"400", "401", "403", "406", "429", "503"}
    assert ("404" in statuses) >= ("{" in operation.path)
    assert ("415" in statuses) >= bool(operation.request_content)
    assert {int(status) for status in statuses} <= set(MEANINGS)
    for status in statuses:
        assert set(operation.answers[status]["content"]) == {"application/problem+json"}
        assert "X-Request-Id" in operation.answers[status]["headers"]
    assert "Retry-After" in operation.answers["429"]["headers"]


@pytest.mark.parametrize("operation", CONFIGURED, ids=str)
def test_a_change_of_configuration_demands_if_match(operation):
    described = described_as(operation.method, operation.route)

    assert headers_of(described)["If-Match"] is True
    assert set(described.answers) >= {"412", "428"}


@each
def test_a_post_that_creates_takes_an_idempotency_key(operation):
    without = {"session_create", "runs_cancel"}  # they give the same answer again by themselves
    takes = "Idempotency-Key" in headers_of(operation)

    assert takes is (operation.method == "POST" and str(operation) not in without)
    assert ("422" in operation.answers) is takes


def test_one_spelling_of_each_path_is_described():
    paths = list(description()["paths"])

    assert len({path.rstrip("/") for path in paths}) == len(paths)
    for operation in operations():
        described_as(operation.method, operation.route)


@pytest.mark.parametrize("operation", [one for one in operations() if one.route.endswith("/events")], ids=str)
def test_streams_are_described_as_events(operation):
    assert "text/event-stream" in described_as(operation.method, operation.route).answers["200"]["content"]


@pytest.mark.parametrize("operation", [one for one in operations() if issubclass(one.view, RunView)], ids=str)
def test_runs_are_described_as_json_and_as_events(operation):
    content = described_as(operation.method, operation.route).answers["200"]["content"]

    assert set(content) == {"application/json", "text/event-stream"}
