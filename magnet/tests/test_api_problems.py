"""Whatever is wrong with a request, the answer is a problem (RFC 9457) with the request's id."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from core.access import Role
from knowledge.models import Document, KnowledgeSource
from magnet.tests.api_walk import PREFIX, client_of, operations, send
from prompts.models import PromptTemplate

OPERATIONS = operations()
DETAILS = [one for one in OPERATIONS if "<str:id>" in one.route]
# A trial of a model or provider asks the vendor, which is not there; only a superuser's new workspace is looked at.
LEFT_OUT = {"POST models/<str:id>/test", "POST providers/<str:id>/available-models", "POST workspaces/"}
BODIES = [one for one in OPERATIONS if one.method in {"POST", "PATCH", "PUT"} and str(one) not in LEFT_OUT]
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}
READS_JSON = {"create", "partial_update", "replace"}


@pytest.fixture(autouse=True)
def no_rates(settings):
    """One person sends more than a minute holds here."""
    settings.RATES = dict.fromkeys(settings.RATES, 10**6)


def assert_problem(answer, status: int, code: str = "") -> dict:
    assert answer.status_code == status, answer.content[:300]
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) - {"errors", "csrf_token"} == MEMBERS
    assert body["status"] == status
    assert body["type"] == f"urn:magnet:problem:{body['code']}"
    assert body["request_id"] == answer["X-Request-Id"]
    assert not code or body["code"] == code
    return body


@pytest.mark.parametrize("path", ["/api/", "/api", "/api/v1/", "/api/v2/models/", "/api/v1/nothing", "/v1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_route_that_is_none(path, method, db):
    assert_problem(APIClient().generic(method, path), 404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v1/rag-tools/x/variants/one/publish", "/v1/nothing"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_route_that_is_none_asks_for_no_cookie(path, method, db):
    answer = APIClient(enforce_csrf_checks=True).generic(method, path)

    assert answer.status_code == 404
    assert "not_found" in str(answer.json())


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_another_method(operation, north):
    client = client_of(north)
    methods = {one.method for one in OPERATIONS if one.route == operation.route}
    other = next(method for method in ("PUT", "DELETE", "PATCH") if method not in methods)

    answer = client.generic(other, operation.path(north), "{", content_type="application/json")

    assert_problem(answer, 405, "method_not_allowed")
    assert set(answer["Allow"].split(", ")) >= methods


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_nobody_is_told_anything_but_to_log_in(operation, north):
    if operation.route == "session/" and operation.method == "POST":
        return
    answer = send(APIClient(), operation, operation.path(north), b"{", Accept="image/png")

    assert_problem(answer, 401, "not_authenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="magnet"'


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_form_of_answer_that_there_is_not(operation, north):
    answer = send(client_of(north), operation, operation.path(north), {}, Accept="image/png")

    assert_problem(answer, 406, "not_acceptable")


NOTHING = ["none", "%00", "x" * 3000, "01890000-0000-7000-8000-000000000000", "%F0%9F%8D%95"]


@pytest.mark.parametrize("operation", DETAILS, ids=str)
def test_a_reference_to_nothing(operation, north):
    client = client_of(north)

    for reference in NOTHING:
        assert_problem(send(client, operation, operation.path(north, id=reference), {}), 404, "not_found")


@pytest.mark.parametrize("n", ["0", "99", "9" * 30, "9" * 5000])
def test_a_variant_that_is_none(n, north):
    root = f"{PREFIX}prompt-templates/{north[PromptTemplate].pk}/variants/{n}"

    for method, path in [("GET", f"{root}/"), ("POST", f"{root}/publish"), ("GET", f"{root}/diff/1")]:
        assert_problem(client_of(north).generic(method, path), 404, "not_found")


BAD_JSON = {
    "no JSON": b"{",
    "no UTF-8": b'{"name": "\xff"}',
    "NUL": b'{"name": "a\\u0000b"}',
    "NUL in a key": b'{"x": {"a\\u0000b": 1}}',
    "half a pair": b'{"name": "\\ud800"}',
    "half a pair in a list": b'{"x": ["\\udc00"]}',
    "no number": b'{"name": NaN}',
    "a key twice": b'{"name": "a", "name": "b"}',
    "51 levels": b'{"x": ' + b"[" * 51 + b"]" * 51 + b"}",
    "100,000 levels": b"[" * 100_000,
    "5,000 digits": b'{"n": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("operation", [one for one in BODIES if one.action in READS_JSON], ids=str)
def test_json_that_is_none(operation, north):
    client = client_of(north)

    for kind, body in BAD_JSON.items():
        answer = send(client, operation, operation.path(north), body, **{"If-Match": "*"})
        assert assert_problem(answer, 400)["code"] == "parse_error", kind


@pytest.mark.parametrize("operation", BODIES, ids=str)
def test_json_of_another_shape_breaks_nothing(operation, north):
    client = client_of(north)

    for body in ["null", "[]", '"text"', "7", "true", "[{}]"]:
        answer = send(client, operation, operation.path(north), body, **{"If-Match": "*"})
        assert answer.status_code < 500
        if answer.status_code >= 400:
            assert_problem(answer, answer.status_code)


@pytest.mark.parametrize("operation", BODIES, ids=str)
def test_a_body_of_another_type(operation, north):
    answer = client_of(north).generic(
        operation.method, operation.path(north), "<a/>", content_type="text/xml", headers={"If-Match": "*"}
    )

    assert answer.status_code < 500
    if operation.action in READS_JSON:
        assert_problem(answer, 415, "unsupported_media_type")


HUGE = [2**31, 2**63, 10**30, -(2**63) - 1]


@pytest.mark.parametrize("number", HUGE)
def test_numbers_beyond_the_column(number, north):
    client, template = client_of(north), north[PromptTemplate].pk
    draft = {"max_tokens": number, "messages": [{"role": "user", "content": "x"}]}
    model = {"name": "M", "slug": "m", "provider": "north-provider", "kind": "chat", "identifier": "x"}

    answers = [
        client.post(f"{PREFIX}prompt-templates/{template}/variants/", draft),
        client.post(f"{PREFIX}prompt-templates/{template}/variants/", {"copy_of": number}),
        client.post(f"{PREFIX}models/", {**model, "max_input_tokens": number}),
        client.post(f"{PREFIX}models/", {**model, "timeout_seconds": number}),
        client.post(f"{PREFIX}models/", {**model, "dimensions": number}),
    ]

    for answer in answers:
        assert_problem(answer, answer.status_code)
        assert answer.status_code in {400, 404}


def test_a_form_with_too_many_fields_or_too_large_ones(north, settings):
    client, path = client_of(north), f"{PREFIX}knowledge-sources/{north[KnowledgeSource].pk}/documents/"
    documents = Document._unscoped.count()

    many = client.post(path, {f"f{n}": "x" for n in range(1100)}, format="multipart")
    large = client.post(path, {"title": "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)}, format="multipart")
    files = {f"f{n}": SimpleUploadedFile("a.txt", b"a") for n in range(110)}
    crowd = client.post(path, files, format="multipart")
    cut = client.generic("POST", path, b"--x\r\n", content_type="multipart/form-data; boundary=x")
    bare = client.generic("POST", path, b"--x\r\n", content_type="multipart/form-data")

    assert_problem(many, 400, "invalid")
    assert_problem(large, 413, "payload_too_large")
    assert_problem(crowd, 400, "invalid")
    assert_problem(cut, 400)
    assert_problem(bare, 400, "parse_error")
    assert Document._unscoped.count() == documents


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("", False)])
def test_the_id_of_the_request(given, kept, north):
    for path in (f"{PREFIX}models/", f"{PREFIX}nothing", "/health/live", "/admin/login/"):
        answer = client_of(north).get(path, headers={"X-Request-Id": given})
        assert (answer["X-Request-Id"] == given) is kept
        assert len(answer["X-Request-Id"]) >= 1


def test_a_host_that_is_not_ours(north):
    answer = client_of(north).get(f"{PREFIX}models/", headers={"Host": "evil.example"})

    assert_problem(answer, 400)


def test_a_problem_tells_a_stranger_no_name(north, south):
    answer = client_of(south).get(f"{PREFIX}prompt-templates/{north[PromptTemplate].pk}/")

    assert "north" not in json.dumps(assert_problem(answer, 404))


def test_a_person_who_may_not_is_told_the_role(north):
    answer = client_of(north, Role.VIEWER).post(f"{PREFIX}prompt-templates/", {})

    assert "'operator'" in assert_problem(answer, 403, "permission_denied")["detail"]
