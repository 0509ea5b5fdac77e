"""Errors of /v1 in OpenAI's shape, made from the same problems that the REST API answers with."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core.api.problems import problem_of
from core.exceptions import FieldError, InvalidInput, NotFound

logger = logging.getLogger(__name__)

TYPES = {401: "authentication_error", 403: "permission_error", 409: "conflict_error", 429: "rate_limit_error"}
CODES = {"not_authenticated": "invalid_api_key", "rate_limited": "rate_limit_exceeded"}
CLIENTS_WAIT_SECONDS = 60
"""The official clients wait so long at most; one that is told to come back later tries again at once."""
# Another try right away would end the same: these say so to the official clients, which repeat 409, 429 and 5xx.
FINAL = frozenset({"conflict", "upstream_error", "invalid_output", "illegal_transition", "budget_exceeded"})


class UnknownModel(NotFound):
    """No such tool or model for this caller."""

    code = "model_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"There is no model '{reference[:100]}' for you.", hint="GET /v1/models lists those that you may use."
        )


def refused(param: str, why: str) -> InvalidInput:
    """A parameter that cannot be served, by its name."""
    return InvalidInput(why, errors=[FieldError(f"/{param.replace('.', '/')}", "unsupported_parameter", why)])


def error_of(problem: Mapping[str, Any]) -> dict[str, Any]:
    """`{"error": {…}}` for a problem object (RFC 9457)."""
    status, code = int(problem["status"]), str(problem["code"])
    first = next(iter(problem.get("errors", ())), None)
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {
        "error": {
            "message": problem["detail"],
            "type": kind,
            "param": _param(str(first["pointer"])) if first and "pointer" in first else _param_of(code),
            "code": first["code"] if first and first["code"] == "unsupported_parameter" else CODES.get(code, code),
            "request_id": problem.get("request_id", ""),
        }
    }


def _param(pointer: str) -> str | None:
    """`/messages/0/content` as OpenAI writes it: `messages[0].content`."""
    parts = [part for part in pointer.split("/") if part]
    if parts and parts[0] == "variables":
        parts[0] = "metadata"
    named = "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in parts)
    return re.sub(r"^\.", "", named) or None


def _param_of(code: str) -> str | None:
    return "model" if code == "model_not_found" else None


def headers_of(problem: Mapping[str, Any], error: BaseException | None = None) -> dict[str, str]:
    """Retry-After, the challenge of a 401, and whether the official clients shall try again."""
    headers: dict[str, str] = {}
    retry_after = getattr(error, "retry_after", None) or getattr(error, "wait", None)
    if retry_after:
        headers["Retry-After"] = str(int(retry_after))
    if problem["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="magnet"'
    if problem["code"] in FINAL and not 0 < int(retry_after or 0) <= CLIENTS_WAIT_SECONDS:
        headers["X-Should-Retry"] = "false"
    return headers


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's hook for the views of /v1. Unknown errors are logged with their trace and answered without it."""
    request = context.get("request")
    problem = getattr(error, "problem", None) or problem_of(error, getattr(request, "path", ""))
    if problem["status"] >= 500:
        logger.error("request.failed", exc_info=error)
    set_rollback()
    return Response(error_of(problem), status=problem["status"], headers=headers_of(problem, error))


def error_response(error: BaseException, request: HttpRequest) -> JsonResponse:
    """The same for what no view answers. Unknown errors are logged, too."""
    problem = problem_of(error, request.path)
    if problem["status"] >= 500:
        logger.error("request.failed", exc_info=error)
    return JsonResponse(error_of(problem), status=problem["status"], headers=headers_of(problem, error))


@csrf_exempt  # as that of /api/
def unknown_route(request: HttpRequest, path: str = "") -> JsonResponse:
    """The last route below /v1/."""
    del path
    return error_response(NotFound(f"There is no {request.method} {request.path[:200]} here."), request)
