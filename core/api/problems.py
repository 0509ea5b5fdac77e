"""RFC 9457: one handler turns every error of the API into `application/problem+json`."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import DatabaseError, DataError, IntegrityError, OperationalError
from django.db.models import ProtectedError
from django.http import Http404, HttpRequest, JsonResponse, UnreadablePostError
from django.utils.encoding import escape_uri_path
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions as drf
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core.context import request_id
from core.exceptions import FieldError, MagnetError
from core.used_by import MOST_NAMED, users_of

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
TITLES = {
    400: "Invalid input",
    401: "Authentication required",
    403: "Permission denied",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Changed by somebody else",
    413: "Payload too large",
    415: "Unsupported media type",
    422: "Cannot be processed",
    428: "Precondition required",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}


class ProblemRenderer(JSONRenderer):
    media_type = CONTENT_TYPE
    format = "problem"


def problem(  # the members of RFC 9457, by name
    *,
    status: int,
    code: str,
    detail: str,
    title: str = "",
    instance: str = "",
    errors: Sequence[FieldError] = (),
) -> dict[str, Any]:
    """A problem object. `instance` is the path of the request that met it, escaped."""
    body: dict[str, Any] = {
        "type": f"urn:magnet:problem:{code}",
        "title": title or TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "request_id": request_id.get(),
    }
    if errors:
        body["errors"] = [{"pointer": e.pointer, "code": e.code, "detail": e.detail} for e in errors]
    return body


def problem_of(error: BaseException, instance: str = "") -> dict[str, Any]:
    """The problem object of any error; what is not known becomes a 500 that tells nothing."""
    found = _translate(error)
    if found is None:
        return problem(
            status=500,
            code="internal_error",
            detail="Something went wrong here. The request id finds it in the logs.",
            instance=instance,
        )
    return {**found, "instance": instance}


@singledispatch
def _translate(_error: BaseException) -> dict[str, Any] | None:
    """The problem of a known kind of error; None for all others."""
    return None


@_translate.register
def _(error: MagnetError) -> dict[str, Any]:
    found = problem(status=error.status, code=error.code, detail=str(error), title=error.title, errors=error.errors)
    # A stream has no header for it.
    return {**found, "retry_after": error.retry_after} if error.retry_after else found


@_translate.register
def _(error: ModelValidationError) -> dict[str, Any]:
    return _invalid(list(_model_errors(error)))


@_translate.register
def _(error: drf.ValidationError) -> dict[str, Any]:
    return _invalid(list(_serializer_errors(error.detail)))


@_translate.register
def _(error: drf.APIException) -> dict[str, Any]:
    code = str(getattr(error.detail, "code", None) or error.default_code)
    return problem(status=error.status_code, code=code, detail=str(error.detail))


@_translate.register
def _(_error: Http404) -> dict[str, Any]:
    return problem(status=404, code="not_found", detail="There is nothing here for you.")


@_translate.register
def _(_error: PermissionDenied) -> dict[str, Any]:
    return problem(status=403, code="permission_denied", detail="You may not do this.")


@_translate.register
def _(error: ProtectedError) -> dict[str, Any]:
    users = users_of(error.protected_objects)
    named = [f"{user.label} '{user.name}'" for user in users[:MOST_NAMED]]
    more = f" and {len(users) - MOST_NAMED} more" if len(users) > MOST_NAMED else ""
    body = problem(status=409, code="in_use", detail=f"This is used by: {', '.join(named)}{more}.")
    shown = [{"type": user.type, "id": user.id, "name": user.name, "url": user.url} for user in users[:MOST_NAMED]]
    errors = [
        {"pointer": one["url"], "code": "in_use", "detail": f"{text} uses it.", **one}
        for one, text in zip(shown, named, strict=True)
    ]
    return {**body, "errors": errors}


@_translate.register
def _(_error: OperationalError) -> dict[str, Any]:
    return problem(status=503, code="database_unavailable", detail="The database does not answer. Try again soon.")


@_translate.register
def _(_error: DataError) -> dict[str, Any]:
    return problem(status=400, code="invalid", detail="A value is out of range, or holds what cannot be stored.")


@_translate.register
def _(_error: IntegrityError) -> dict[str, Any]:
    return problem(status=409, code="conflict", detail="Somebody else changed this at the same time. Load it again.")


@_translate.register
def _(_error: SuspiciousOperation) -> dict[str, Any]:
    return problem(status=400, code="invalid", detail="The request cannot be read: it has too many fields or files.")


@_translate.register
def _(_error: UnreadablePostError) -> dict[str, Any]:
    return problem(status=400, code="invalid", detail="The request ended before its body did.")


@_translate.register
def _(_error: RequestDataTooBig) -> dict[str, Any]:
    return problem(status=413, code="payload_too_large", detail="The fields of this form are too large.")


def _invalid(errors: Sequence[FieldError]) -> dict[str, Any]:
    detail = " ".join(f"{e.pointer.lstrip('/')}: {e.detail}" if e.pointer else e.detail for e in errors[:3])
    return problem(status=400, code="invalid", detail=detail or "The input is wrong.", errors=errors)


def _model_errors(error: ModelValidationError) -> Iterator[FieldError]:
    if hasattr(error, "error_dict"):
        for name, found in error.error_dict.items():
            pointer = "" if name == "__all__" else f"/{name}"
            for one in found:
                yield FieldError(pointer, one.code or "invalid", " ".join(one.messages))
        return
    for one in error.error_list:
        yield FieldError("", one.code or "invalid", " ".join(one.messages))


def _serializer_errors(detail: Any, pointer: str = "") -> Iterator[FieldError]:
    if isinstance(detail, Mapping):
        for name, found in detail.items():
            yield from _serializer_errors(found, pointer if name == "non_field_errors" else f"{pointer}/{name}")
    elif isinstance(detail, list):
        for index, found in enumerate(detail):
            nested = isinstance(found, Mapping | list)
            yield from _serializer_errors(found, f"{pointer}/{index}" if nested else pointer)
    else:
        yield FieldError(pointer, str(getattr(detail, "code", "invalid")), str(detail))


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's hook. Unknown errors are logged with their trace and answered without it."""
    request = context.get("request")
    body = problem_of(error, getattr(request, "path", ""))
    if body["status"] >= 500:
        logger.error("request.failed", exc_info=error)
    set_rollback()
    headers = {}
    retry_after = getattr(error, "retry_after", None) or getattr(error, "wait", None)
    if retry_after:
        headers["Retry-After"] = str(int(retry_after))
    if body["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="magnet"'
    response = Response(body, status=body["status"], headers=headers, content_type=CONTENT_TYPE)
    return response


def problem_response(error: BaseException, request: HttpRequest) -> JsonResponse:
    """The same for plain Django views and for routes that do not exist."""
    body = problem_of(error, escape_uri_path(request.path))
    if isinstance(error, DatabaseError) or body["status"] >= 500:
        logger.error("request.failed", exc_info=error)
    response = JsonResponse(body, status=body["status"], content_type=CONTENT_TYPE)
    if body["status"] == 401:
        response["WWW-Authenticate"] = 'Bearer realm="magnet"'
    return response


@csrf_exempt  # it changes nothing; a caller with a key would be told 403, of a cookie that they do not need
def unknown_route(request: HttpRequest, path: str = "") -> JsonResponse:
    """The last route below /api/: what does not exist is a problem too, not an HTML page."""
    del path
    return problem_response(Http404(), request)
