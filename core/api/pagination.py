"""Cursor pagination: stable under inserts, no count over a large table, exact where many rows are equal."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


@dataclass(frozen=True)
class Cursor:
    """A place between two rows: the ordered values of the row beside it, as texts, and which way to read from there."""

    values: tuple[str, ...]
    backwards: bool = False

    def encode(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.backwards, *self.values]).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises ValidationError for what no list of ours has given."""
        try:
            backwards, *values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, TypeError):
            raise _bad_cursor() from None
        if not isinstance(backwards, bool) or not all(
            isinstance(value, str) and "\x00" not in value for value in values
        ):
            raise _bad_cursor()
        return cls(tuple(values), backwards)


class CursorPages(BasePagination):
    """`?limit=` up to 200 rows a page; `{results, next, prev}` with ready URLs or null.

    Rows are ordered by `?ordering=` or the view's `ordering`, then by id.
    """

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        limit, self._url = _limit(request), request.build_absolute_uri()
        self._ordering = _with_id(_ordering(queryset, request, view))
        cursor = Cursor.decode(request.query_params["cursor"]) if "cursor" in request.query_params else None
        backwards = cursor is not None and cursor.backwards
        order = [_reversed(name) for name in self._ordering] if backwards else self._ordering
        rows = queryset.order_by(*order)
        if cursor is not None:
            rows = rows.filter(_beyond(order, _values(queryset.model, order, cursor)))
        found = list(rows[: limit + 1])
        self._page, more = found[:limit], len(found) > limit
        if backwards:
            self._page.reverse()
        self._has_next = backwards or more
        self._has_prev = more if backwards else cursor is not None
        return self._page

    def get_paginated_response(self, data: Any) -> Response:
        next_link = self._link(self._page[-1], backwards=False) if self._page and self._has_next else None
        prev_link = self._link(self._page[0], backwards=True) if self._page and self._has_prev else None
        return Response({"results": data, "next": next_link, "prev": prev_link})

    def _link(self, row: Model, *, backwards: bool) -> str:
        texts = tuple(str(_column(type(row), name).value_to_string(row)) for name in self._ordering)
        return replace_query_param(self._url, "cursor", Cursor(texts, backwards).encode())

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "prev"],
            "properties": {"results": schema, "next": link, "prev": link},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        limits = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
        place = "Where the page begins: take the whole URL from `next` or `prev`."
        return [
            {"name": "limit", "in": "query", "required": False, "description": "Rows a page.", "schema": limits},
            {"name": "cursor", "in": "query", "required": False, "description": place, "schema": {"type": "string"}},
        ]


def _limit(request: Request) -> int:
    given = request.query_params.get("limit")
    if given is None:
        return DEFAULT_LIMIT
    if not (given.isascii() and given.isdecimal() and len(given) < 10 and 1 <= int(given) <= MAX_LIMIT):
        raise ValidationError({"limit": [f"A number from 1 to {MAX_LIMIT}."]})
    return int(given)


def _ordering(queryset: QuerySet[Any], request: Request, view: Any) -> Sequence[str]:
    """What the view's ordering backend makes of the request."""
    backend = next(backend for backend in view.filter_backends if hasattr(backend, "get_ordering"))
    return tuple(backend().get_ordering(request, queryset, view))


def _with_id(ordering: Sequence[str]) -> tuple[str, ...]:
    return tuple(ordering) if {"id", "-id"} & set(ordering) else (*ordering, "id")


def _reversed(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"


def _column(model: type[Model], name: str) -> Any:
    return model._meta.get_field(name.removeprefix("-"))


def _values(model: type[Model], order: Sequence[str], cursor: Cursor) -> list[Any]:
    """The cursor's texts as values of the ordered columns."""
    if len(cursor.values) != len(order):
        raise _bad_cursor()
    try:
        return [_column(model, name).to_python(text) for name, text in zip(order, cursor.values, strict=True)]
    except (ModelValidationError, ValueError, OverflowError):
        raise _bad_cursor() from None


def _beyond(order: Sequence[str], values: Sequence[Any]) -> Q:
    """Rows behind these values: greater in the first column, or equal in it and greater in the next, and so on."""
    beyond, equal = Q(), Q()
    for name, value in zip(order, values, strict=True):
        column = name.removeprefix("-")
        beyond |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return beyond


def _bad_cursor() -> ValidationError:
    return ValidationError({"cursor": ["This is no place in this list. Begin without a cursor."]})
