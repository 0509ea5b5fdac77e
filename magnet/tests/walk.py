"""Every address of the platform with real rows in it, taken from the routes themselves: none can be forgotten."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.urls import URLResolver, get_resolver

from magnet.tests.admin_world import World
from rag.models import RagTool

PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def routes() -> Iterator[str]:
    """All routes as they are written, `admin/llm/provider/<path:object_id>/change/`."""
    yield from _below(get_resolver(), "")


def _below(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _below(pattern, route)
        else:
            yield route


def addresses(world: World) -> list[str]:
    """An address for each route, its parameters filled with rows of this workspace."""
    return list(dict.fromkeys(_filled(route, world) for route in routes()))


def _filled(route: str, world: World) -> str:
    if route.startswith("admin/^"):
        return "/admin/llm/"
    row = _row_of(route, world)
    known = {
        "object_id": row, "pk": row, "id": row, "n": "1", "a": "1", "b": "1",
        "slug": world[RagTool].slug, "url": "no-such-page", "path": "no-such-page", "external_id": "leave.md",
    }  # fmt: skip
    route = re.sub(r"^\^|\$$|\(\?P(<\w+>)[^)]*\)", r"\1", route)
    return "/" + PARAMETER.sub(lambda found: str(known.get(found[1], uuid.uuid4())), route)


def _row_of(route: str, world: World) -> Any:
    """The row that a route is about: of the admin's model, or of the API's resource with the same plural."""
    parts = route.split("/")
    for model in admin.site._registry:
        meta = model._meta
        of_admin = parts[:3] == ["admin", meta.app_label, meta.model_name]
        of_api = parts[:2] == ["api", "v1"] and parts[2] == str(meta.verbose_name_plural).lower().replace(" ", "-")
        if of_admin or of_api:
            row = world.rows.get(model) or model._base_manager.order_by("pk").first()
            return row.pk if row else uuid.uuid4()
    return uuid.uuid4()
