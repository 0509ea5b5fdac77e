"""What many operations of the OpenAPI description share: the problem object, its answers, headers and parameters."""

from collections.abc import Mapping
from typing import Any

from core.api.idempotency import HEADER, REPLAYED
from core.api.problems import CONTENT_TYPE, TITLES, problem

Part = dict[str, Any]

PROBLEM: Part = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `code` is stable, for programs; `detail` is for people.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "`urn:magnet:problem:` and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong, and what to do next."},
        "instance": {"type": "string", "description": "The path of the request."},
        "code": {"type": "string"},
        "request_id": {"type": "string", "description": "Finds the request in the logs."},
        "errors": {
            "type": "array",
            "description": "The parts of the input that are wrong, or the users of what cannot be deleted.",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body, or a parameter's name."},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "type": {"type": "string", "description": "Of a user of the object."},
                    "id": {"type": "string", "format": "uuid"},
                    "name": {"type": "string"},
                    "url": {"type": "string"},
                },
            },
        },
        "csrf_token": {"type": "string", "description": "Only in the 401 of `GET session/`, to log in with."},
    },
}

EVENT: Part = {
    "type": "object",
    "description": "One event of the stream, as its lines name it.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Its number: what Last-Event-ID takes."},
        "event": {"type": "string", "description": "What it tells, such as `run.completed`."},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "object"}},
    },
}

MEANINGS: Mapping[int, tuple[str, str, str]] = {
    400: ("Invalid", "invalid", "The input is wrong; `errors` says where."),
    401: ("NotAuthenticated", "not_authenticated", "No credentials, or none that count."),
    403: ("PermissionDenied", "permission_denied", "Role, scope or CSRF token is missing."),
    404: ("NotFound", "not_found", "There is no such object for the caller."),
    406: ("NotAcceptable", "not_acceptable", "None of the forms that Accept names."),
    409: ("Conflict", "conflict", "The state of the object does not allow this now."),
    412: ("Stale", "stale_version", "If-Match names another version than the present one."),
    413: ("TooLarge", "payload_too_large", "The body or a file is over its cap, or a quota is full."),
    415: ("UnsupportedMediaType", "unsupported_media_type", "The body is of another type than those listed."),
    422: ("KeyReused", "idempotency_key_reused", "The Idempotency-Key was sent before with another request."),
    428: ("PreconditionRequired", "precondition_required", "If-Match is missing."),
    429: ("TooMany", "rate_limited", "The caller has used up its minute, or is locked out."),
    502: ("UpstreamFailed", "upstream_error", "The model provider failed."),
    503: ("Unavailable", "unavailable", "A part that is needed is down. Try again soon."),
}
"""By status: the name of the answer in the description, the code of its example, and when it comes."""


def _header(description: str, kind: str = "string") -> Part:
    return {"description": description, "schema": {"type": kind}}


HEADERS: dict[str, Part] = {
    "ETag": _header('The version of the object, as `"3"`: what If-Match takes.'),
    "Location": _header("The job to follow."),
    "X-Request-Id": _header("Finds the request in the logs; a harmless one that the caller sends is kept."),
    "Retry-After": _header("Seconds to wait.", "integer"),
    "WWW-Authenticate": _header("How to authenticate."),
    REPLAYED: _header("`true` when this is the stored answer of an earlier request with the same key."),
    "RateLimit": _header('What is left of the caller\'s minute: `"reads";r=2999;t=60`.'),
    "RateLimit-Policy": _header('What the minute holds: `"reads";q=3000;w=60`.'),
    "RateLimit-Limit": _header("The same as a number, for older clients.", "integer"),
    "RateLimit-Remaining": _header("Requests that are left in this window.", "integer"),
    "RateLimit-Reset": _header("Seconds until the window ends.", "integer"),
}
OF_EVERY_ANSWER = ("X-Request-Id",)
OF_RATES = ("RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
OF_STATUS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 429: ("Retry-After",), 503: ("Retry-After",)}
UNCOUNTED = frozenset({401, 413, 503})
"""Of callers who are nobody, of bodies that are not read, of a platform that is down: nobody's minute has less."""


def _parameter(name: str, description: str, example: str, *, required: bool = False) -> Part:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


PARAMETERS: dict[str, Part] = {
    "Workspace": _parameter(
        "X-Workspace",
        "The slug of the workspace. A key has its own; a session may leave it out with one membership.",
        "default",
    ),
    "IfMatch": _parameter(
        "If-Match",
        "The ETag of your last GET, or `*` for any version. Missing: 428. Another version: 412.",
        '"1"',
        required=True,
    ),
    "IfMatchOptional": _parameter("If-Match", "With an ETag, only that version is meant. Another one: 412.", '"1"'),
    "IdempotencyKey": _parameter(
        HEADER,
        "1 to 255 visible ASCII characters, new for each new request. The same request with the same key is answered "
        "again and has its effect once; kept for 24 hours.",
        "order-2024-10-07-1",
    ),
}


def reference(kind: str, name: str) -> Part:
    """A reference to one of these parts."""
    return {"$ref": f"#/components/{kind}/{name}"}


def headers_of(*names: str) -> Part:
    return {name: reference("headers", name) for name in names}


def headers_of_problem(status: int) -> Part:
    """All that a problem of this status can have."""
    rates = () if status in UNCOUNTED else OF_RATES
    return headers_of(*OF_EVERY_ANSWER, *OF_STATUS.get(status, ()), *rates)


def _answer(status: int) -> Part:
    _, code, meaning = MEANINGS[status]
    example = {
        **problem(status=status, code=code, title=TITLES.get(status, ""), detail=meaning, instance="/api/v1/…"),
        "request_id": "7f0c1d6e5b3a4c9d8e2f1a0b9c8d7e6f",
    }
    return {
        "description": meaning,
        "headers": headers_of_problem(status),
        "content": {CONTENT_TYPE: {"schema": reference("schemas", "Problem"), "example": example}},
    }


def problem_answers(statuses: set[int]) -> Part:
    """The answers of these statuses, as references."""
    return {str(status): reference("responses", MEANINGS[status][0]) for status in sorted(statuses)}


def add_parts(result: Part, **_: Any) -> Part:
    """drf-spectacular's hook: the shared parts join the description; tags stand in order."""
    components = result.setdefault("components", {})
    parts = {
        "schemas": {"Problem": PROBLEM, "Event": EVENT},
        "responses": {name: _answer(status) for status, (name, _code, _meaning) in MEANINGS.items()},
        "headers": HEADERS,
        "parameters": PARAMETERS,
    }
    for kind, named in parts.items():
        components[kind] = dict(sorted({**components.get(kind, {}), **named}.items()))
    operations = [operation for item in result["paths"].values() for operation in item.values()]
    tags = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    result["tags"] = [{"name": tag} for tag in tags]
    return result
