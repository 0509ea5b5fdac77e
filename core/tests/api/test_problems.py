import json

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DataError, IntegrityError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404, UnreadablePostError
from django.test import RequestFactory
from rest_framework import exceptions as drf

from accounts.models import Workspace
from core.api.problems import exception_handler, problem_of, problem_response
from core.context import request_id
from core.exceptions import AuthenticationRequired, FieldError, InvalidInput, MagnetError, StaleVersion


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidInput("Wrong."), 400, "invalid"),
        (StaleVersion("Old."), 412, "stale_version"),
        (drf.NotAuthenticated(), 401, "not_authenticated"),
        (drf.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (drf.ParseError("JSON parse error"), 400, "parse_error"),
        (drf.UnsupportedMediaType("text/x"), 415, "unsupported_media_type"),
        (Http404(), 404, "not_found"),
        (PermissionDenied(), 403, "permission_denied"),
        (OperationalError("server closed the connection, password=x"), 503, "database_unavailable"),
        (DataError("value 99999999999 is out of range"), 400, "invalid"),
        (IntegrityError("duplicate key value"), 409, "conflict"),
        (SuspiciousOperation("too many fields"), 400, "invalid"),
        (UnreadablePostError("the client left"), 400, "invalid"),
        (RuntimeError("secret sentinel"), 500, "internal_error"),
    ],
)
def test_every_error_is_a_problem(error, status, code):
    body = problem_of(error, "/api/v1/x")

    assert (body["status"], body["code"], body["instance"]) == (status, code, "/api/v1/x")
    assert body["type"] == f"urn:magnet:problem:{code}"
    assert body["title"]
    assert body["detail"]


def test_what_is_not_ours_to_tell_stays_here():
    for error in (RuntimeError("sentinel"), OperationalError("sentinel")):
        assert "sentinel" not in json.dumps(problem_of(error))


def test_the_hint_follows_the_detail_and_fields_are_pointed_at():
    error = InvalidInput("Wrong.", hint="Do this.", errors=[FieldError("/name", "blank", "Empty.")])

    body = problem_of(error)

    assert body["detail"] == "Wrong. Do this."
    assert body["errors"] == [{"pointer": "/name", "code": "blank", "detail": "Empty."}]


def test_nested_input_errors_become_pointers():
    error = drf.ValidationError({"messages": [{"role": ["Unknown."]}], "non_field_errors": ["All wrong."]})

    pointers = {e["pointer"]: e["detail"] for e in problem_of(error)["errors"]}

    assert pointers == {"/messages/0/role": "Unknown.", "": "All wrong."}


def test_model_errors_become_pointers():
    by_field = ModelValidationError({"slug": [ModelValidationError("Taken.", code="unique")], "__all__": ["Odd."]})

    assert problem_of(by_field)["errors"] == [
        {"pointer": "/slug", "code": "unique", "detail": "Taken."},
        {"pointer": "", "code": "invalid", "detail": "Odd."},
    ]
    assert problem_of(ModelValidationError("Odd."))["detail"] == "Odd."
    assert problem_of(drf.ValidationError([]))["detail"] == "The input is wrong."


def test_a_protected_row_names_its_users():
    workspace = Workspace(name="Sales")

    body = problem_of(ProtectedError("in use", {workspace}))

    assert (body["status"], body["detail"]) == (409, "This is used by: workspace 'Sales'.")
    url = f"/api/v1/workspaces/{workspace.pk}/"
    assert body["errors"] == [
        {
            "pointer": url,
            "code": "in_use",
            "detail": "workspace 'Sales' uses it.",
            "type": "workspace",
            "id": str(workspace.pk),
            "name": "Sales",
            "url": url,
        }
    ]


def test_of_many_users_twenty_are_named():
    body = problem_of(ProtectedError("in use", {Workspace(name=f"W{n:02}") for n in range(25)}))

    assert len(body["errors"]) == 20
    assert body["detail"].endswith("workspace 'W19' and 5 more.")


def test_a_user_without_a_page_in_the_api_has_no_url():
    body = problem_of(ProtectedError("in use", {ContentType(pk=1, model="sales")}))

    assert (body["errors"][0]["name"], body["errors"][0]["url"]) == ("sales", "")


def test_the_request_id_is_in_the_problem():
    token = request_id.set("abc")
    try:
        assert problem_of(Http404())["request_id"] == "abc"
    finally:
        request_id.reset(token)


def test_retry_after_and_www_authenticate_are_headers():
    limited = exception_handler(InvalidInput("Slow down.", retry_after=7), {})
    throttled = exception_handler(drf.Throttled(wait=3), {})
    anonymous = exception_handler(AuthenticationRequired("Who?"), {})

    assert limited["Retry-After"] == "7"
    assert throttled["Retry-After"] == "3"
    assert anonymous["WWW-Authenticate"] == 'Bearer realm="magnet"'
    assert limited.content_type == "application/problem+json"


def test_plain_views_answer_the_same_and_log_what_is_ours(caplog):
    request = RequestFactory().get("/api/x")

    anonymous = problem_response(AuthenticationRequired("Who?"), request)
    broken = problem_response(RuntimeError("boom"), request)

    assert (anonymous.status_code, anonymous["WWW-Authenticate"]) == (401, 'Bearer realm="magnet"')
    assert broken.status_code == 500
    assert [record.message for record in caplog.records] == ["request.failed"]


def test_an_unknown_error_is_logged_with_its_trace(caplog):
    response = exception_handler(RuntimeError("boom"), {"request": RequestFactory().get("/api/x")})

    assert response.status_code == 500
    assert caplog.records[0].exc_info is not None


def test_an_error_reads_as_a_sentence():
    assert str(MagnetError("It broke.", hint="Mend it.")) == "It broke. Mend it."
