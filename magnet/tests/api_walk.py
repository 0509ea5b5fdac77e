"""Every operation of the API, found in the routes, with a path to a row of a workspace."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Model as DjangoModel
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from accounts.models import ApiKey, AuditEvent, Group, Membership, User, Workspace
from core.access import Role
from knowledge.models import Document, KnowledgeSource
from llm.models import Model, Provider
from magnet.tests.admin_world import World
from magnet.tests.contract import PREFIX, Described, assert_as_described, described_as
from observability.models import Budget, Job, Run, Trace
from prompts.models import PromptTemplate
from rag.models import RagTool, RetrievalTool

KINDS: dict[str, type[DjangoModel]] = {
    "api-keys": ApiKey,
    "audit-events": AuditEvent,
    "budgets": Budget,
    "documents": Document,
    "groups": Group,
    "jobs": Job,
    "knowledge-sources": KnowledgeSource,
    "members": Membership,
    "models": Model,
    "prompt-templates": PromptTemplate,
    "providers": Provider,
    "rag-tools": RagTool,
    "retrieval-tools": RetrievalTool,
    "runs": Run,
    "traces": Trace,
    "workspaces": Workspace,
}
OTHERS = {"n": "1", "a": "1", "b": "1", "external_id": "leave.md"}


def row_of(world: World, path: str) -> str:
    """The `{id}` of this path: of this world's row of its kind."""
    if path.startswith("/v1/"):
        return str(world[RagTool].slug)
    kind = path.removeprefix(PREFIX).split("/")[0]
    return str(world.workspace.pk if kind == "workspaces" else world[KINDS[kind]].pk)


def values_of(world: World, path: str) -> dict[str, str]:
    """What stands for the parameters of a path of the description, to come to this world's rows."""
    return {name: OTHERS.get(name) or row_of(world, path) for name in re.findall(r"{(\w+)}", path)}


@dataclass(frozen=True)
class Operation:
    """A method of a route; `action` is the viewset's, or the method itself. prefix: what stands before the route."""

    method: str
    route: str
    view: Any
    action: str
    prefix: str = PREFIX

    @property
    def described(self) -> Described:
        return described_as(self.method, self.route, self.prefix)

    def path(self, world: World, **given: str) -> str:
        """The path to this world's row."""
        values = {**OTHERS, **given}
        if "id" not in values and ":id>" in self.route:
            values["id"] = row_of(world, self.prefix + self.route)
        return self.prefix + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found[1]], self.route)

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


def operations(prefix: str = PREFIX) -> list[Operation]:
    """All of them below the prefix, in the order of the routes."""
    return [one for pattern, route in _patterns(get_resolver(), "/") for one in _of(pattern, route, prefix)]


def _patterns(resolver: URLResolver, prefix: str) -> Iterator[tuple[URLPattern, str]]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern, route)
        else:
            yield pattern, route


def _of(pattern: URLPattern, route: str, prefix: str) -> Iterator[Operation]:
    view: Any = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
    if view is None or not route.startswith(prefix):
        return
    actions = getattr(pattern.callback, "actions", None)
    names = actions or {name: name for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)}
    for method, action in names.items():
        if method != "head":
            yield Operation(method.upper(), route.removeprefix(prefix), view, action, prefix)


def client_of(world: World, role: Role = Role.ADMIN) -> APIClient:
    """A session of a member of this world with this role."""
    user: User = world.principal.user if role is Role.ADMIN else world.member(role)
    client = APIClient()
    client.force_login(user)
    return client


def send(client: APIClient, operation: Operation, path: str, body: Any = None, **headers: str) -> Any:
    """The operation with this JSON body; its answer is held against the description."""
    answer = client.generic(
        operation.method,
        path,
        "" if body is None else body if isinstance(body, bytes | str) else json.dumps(body),
        content_type="application/json",
        headers=headers,
    )
    assert_as_described(operation.described, answer)
    return answer
