"""What holds for every operation, tried with each: HEAD, the cap on bodies, what a refusal carries, lists as lists."""

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from accounts.models import Group
from core.access import Role
from magnet.body_limit import BodyLimit
from magnet.tests.admin_world import World
from magnet.tests.api_walk import client_of, values_of
from magnet.tests.contract import RATES, Described, assert_as_described, described, resolved
from observability.models import Budget
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool

ALL = described()
each = pytest.mark.parametrize("operation", ALL, ids=str)
reading = pytest.mark.parametrize("operation", [one for one in ALL if one.method == "GET"], ids=str)
ROUTES = {(one.method, one.path) for one in ALL}


@pytest.fixture(autouse=True)
def no_rates(settings: Any) -> None:
    """One person sends more than a minute holds here."""
    settings.RATES = dict.fromkeys(settings.RATES, 10**6)


def path_of(operation: Described, world: World) -> str:
    return operation.path.format(**values_of(world, operation.path))


@reading
def test_head_is_get_without_its_body(operation: Described, north: World) -> None:
    client, path = client_of(north), path_of(operation, north)

    head, get = client.head(path), client.get(path)

    assert (head.status_code, head.content) == (get.status_code, b"")
    same = ("Content-Type", "ETag", "Content-Disposition", "Cache-Control")
    assert [head.get(name) for name in same] == [get.get(name) for name in same]
    assert int(head["RateLimit-Remaining"]) > int(get["RateLimit-Remaining"])


@pytest.mark.parametrize("path", sorted({one.path for one in ALL}))
def test_options_names_the_verbs(path: str, north: World) -> None:
    answer = client_of(north).options(path.format(**values_of(north, path)))

    assert answer.status_code == 200, answer.content
    verbs = {one.method for one in ALL if one.path == path}
    assert set(answer["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == verbs
    assert {"name", "parses", "renders"} <= set(answer.json())


class Answered:
    """What an ASGI application sent, with the names of a response."""

    streaming = False

    def __init__(self, operation: Described, **headers: str) -> None:
        self.sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": operation.method,
            "path": operation.path,
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        async_to_sync(BodyLimit(_reads, 10))(scope, self._receive, self._send)
        self.status_code = self.sent[0]["status"]
        self.headers = {name.decode().title(): value.decode() for name, value in self.sent[0]["headers"]}
        self.content = self.sent[1]["body"]

    def json(self) -> Any:
        return json.loads(self.content)

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 6, "more_body": True}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


async def _reads(_scope: Any, receive: Any, _send: Any) -> None:
    while True:
        await receive()


@pytest.mark.parametrize("operation", [one for one in ALL if one.method in {"POST", "PUT", "PATCH"}], ids=str)
@pytest.mark.parametrize("headers", [{"content_length": "11"}, {}], ids=["stated", "chunked"])
def test_a_body_over_the_cap(operation: Described, headers: dict[str, str]) -> None:
    answer = Answered(operation, x_request_id="abc-1", **headers)

    assert answer.status_code == 413
    assert_as_described(operation, answer)
    said = answer.json()
    assert "limit of 0 MB" in (said["error"]["message"] if operation.path.startswith("/v1/") else said["detail"])
    assert answer.headers["X-Request-Id"] == "abc-1"


@each
def test_every_refusal_has_the_requests_id_and_what_is_left(operation: Described, north: World) -> None:
    client = client_of(north, Role.USER if operation.operation["x-magnet-access"]["role"] != "user" else Role.ADMIN)
    path = path_of(operation, north)
    other = next(one for one in ("PUT", "DELETE", "PATCH") if (one, operation.path) not in ROUTES)

    answers = [
        client.generic(other, path),
        client.generic(operation.method, path, "{", content_type="application/json", headers={"If-Match": "*"}),
    ]

    assert answers[0].status_code in {403, 405}
    for answer in answers:
        assert answer["X-Request-Id"]
        missing = [name for name in RATES if name not in answer.headers]
        assert not missing or str(operation) == "session_create", (answer.status_code, missing)


LISTS_OF_ROWS = [
    ("groups", Group, "members"),
    ("rag-tools", RagTool, "shared_with_members"),
    ("retrieval-tools", RetrievalTool, "shared_with_groups"),
]


@pytest.mark.parametrize("resource, kind, field", LISTS_OF_ROWS)
@pytest.mark.parametrize("body", [{}, {"a": 1}, "", "x", None, 0, True])
def test_what_is_no_list_clears_none(north: World, resource: str, kind: type, field: str, body: Any) -> None:
    client, path = client_of(north), f"/api/v1/{resource}/{north[kind].pk}/"
    before = client.get(path).json()

    answer = client.patch(path, {field: body}, headers={"If-Match": "*"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"/{field}")
    assert client.get(path).json() == before


@pytest.mark.parametrize(
    "resource, kind, field",
    [("prompt-templates", PromptTemplate, "temperature"), ("retrieval-tools", RetrievalTool, "dense_weight")],
)
@pytest.mark.parametrize("value", [True, False])
def test_yes_and_no_are_no_numbers(north: World, resource: str, kind: type, field: str, value: bool) -> None:
    client, root = client_of(north), f"/api/v1/{resource}/{north[kind].pk}/variants/"
    draft = client.post(root, {}).json()

    answer = client.patch(f"{root}2/", {field: value}, headers={"If-Match": "*"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, f"/{field}")
    assert client.get(f"{root}2/").json()[field] == draft[field]


@pytest.mark.parametrize("value", [False, True, 7])
def test_what_is_no_text_is_no_id(north: World, value: Any) -> None:
    client, path = client_of(north), f"/api/v1/budgets/{north[Budget].pk}/"

    budget = client.patch(path, {"target_id": value}, headers={"If-Match": "*"})
    key = client.post("/api/v1/api-keys/", {"name": "x", "tools": [value]})

    assert [(one.status_code, one.json()["errors"][0]["code"]) for one in (budget, key)] == [(400, "invalid")] * 2


@pytest.mark.parametrize("resource", ["prompt-templates", "rag-tools", "retrieval-tools"])
def test_a_tool_has_a_first_variant_when_it_is_made_alone(resource: str) -> None:
    """A change would not heed one: variants have an endpoint of their own."""
    forms = {
        one.method: resolved(one.request_content["application/json"]["schema"])
        for one in ALL
        if one.path in {f"/api/v1/{resource}/", f"/api/v1/{resource}/{{id}}/"} and one.request_content
    }

    assert "variant" in forms["POST"]["properties"]
    assert "variant" not in forms["PATCH"]["properties"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/nothing"])
def test_what_no_view_of_v1_answers_has_openais_shape(north: World, path: str) -> None:
    answer = client_of(north).get(path, headers={"Host": "evil.example"})

    assert (answer.status_code, answer["Content-Type"]) == (400, "application/json")
    error = answer.json()["error"]
    assert (error["type"], error["request_id"]) == ("invalid_request_error", answer["X-Request-Id"])
    assert "PUBLIC_URL" in error["message"]
