"""Who may call what: every route of the platform with the role and scope that it takes, as code has it.

`manage.py authorisation_matrix` writes docs/authorisation.md from it; a test calls every cell of that table.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from core.access import Permission
from core.api.schema import needed_by

PUBLIC = (
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/static/{path}"),
    ("GET", "/api/schema/"),
    ("GET", "/api/docs/"),
    ("POST", "/api/v1/session/"),
    ("GET", "/panel/login/"),
    ("GET", "/panel/password/"),
)
"""What answers without credentials: ten entries at most. A page and the form that it holds are one entry."""

APIS = ("/api/v1/", "/v1/")
ANYBODY = "anybody signed in"
METHODS = ("get", "post", "put", "patch", "delete")

HEAD = """# Who may call what

Written by `manage.py authorisation_matrix` from the routes and their permissions, and tried cell by cell by
`magnet/tests/test_authorisation.py`: without credentials, with a key that is garbage, expired, revoked or of another
workspace, with each role, with each scope, and with a session that lacks its CSRF token.

- **Role**: the least role in the workspace; each has all rights of the one before: user, viewer, operator, admin.
- **Scope**: what an API key needs beside the role of its user. A session has all scopes.
- `run or models`: one of both is needed; tools exist for keys with `run` alone, raw models for keys with `models` whose
  user is a viewer or more.
- Below `viewer`, tools and prompt templates that are not shared with the caller are a 404 in every method, as are runs
  and traces of them; lists hold what is shared, and the caller's own runs, traces and keys. A key that names tools has
  no others.
- An object of another workspace is a 404 for everybody. Without credentials the answer is 401.
- `/metrics` takes a key with the scope `read`, or a session, of a superuser: its figures are of all workspaces.
- `/admin/` takes the role viewer and shows each page by the same permissions; `/panel/` takes any member. Both send
  everybody else to the sign-in page.
"""


@dataclass(frozen=True, order=True)
class Operation:
    """A method of a route, with the least role and the scope that it takes, in words."""

    path: str
    method: str
    role: str
    scope: str


def routes(patterns: Any = None, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """Every route with its callback; parameters are written `{name}`."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + _readable(str(one.pattern))
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, path)
        elif isinstance(one, URLPattern):
            yield path, one.callback


def _readable(pattern: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", pattern)


def operations() -> list[Operation]:
    """All operations of the API, by path."""
    return sorted(
        _operation(path, method, callback)
        for path, callback in routes()
        if path.startswith(APIS) and hasattr(callback, "cls")
        for method in METHODS
        if _action(callback, method) is not None
    )


def _action(callback: Any, method: str) -> str | None:
    """The name by which the view knows this method, None when it does not answer it."""
    actions: dict[str, str] | None = getattr(callback, "actions", None)
    if actions is not None:
        return actions.get(method)
    return method if hasattr(callback.cls, method) else None


def _operation(path: str, method: str, callback: Any) -> Operation:
    view, action = callback.cls(), _action(callback, method)
    role, scope = _needed(view, str(action))
    if (method.upper(), path) in PUBLIC:
        role, scope = "nobody", ""
    return Operation(path, method.upper(), role, scope)


def _needed(view: Any, action: str) -> tuple[str, str]:
    needed = needed_by(view, action)
    if isinstance(needed, Permission):
        return needed.role.value, needed.scope.value
    return needed or (ANYBODY, "")


def document() -> str:
    """docs/authorisation.md."""
    rows = [f"| {one.method} | `{one.path}` | {one.role} | {one.scope} |" for one in operations()]
    public = [f"- {method} `{path}`" for method, path in PUBLIC]
    table = ["| method | path | role | scope |", "|---|---|---|---|", *rows]
    return "\n".join([HEAD, "## Open without credentials", "", *public, "", "## The API", "", *table, ""])


def read_document(text: str) -> list[Operation]:
    """The operations that the document lists."""
    cells = re.findall(r"^\| ([A-Z]+) \| `(\S+)` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE)
    return [Operation(path, method, role.strip(), scope.strip()) for method, path, role, scope in cells]
