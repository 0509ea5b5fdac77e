"""Cursor pagination: stable under inserts, no count over a large table."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response

MAX_LIMIT = 200


class CursorPages(CursorPagination):
    """`?limit=` up to 200 rows a page; `{results, next, prev}` with ready URLs or null."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = MAX_LIMIT
    ordering = ("-id",)

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get("limit")
        if given is None:
            return self.page_size
        if not given.isdecimal() or not 1 <= int(given) <= MAX_LIMIT:
            raise ValidationError({"limit": [f"A number from 1 to {MAX_LIMIT}."]})
        return int(given)

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        chosen = tuple(super().get_ordering(request, queryset, view))
        return chosen if {"id", "-id"} & set(chosen) else (*chosen, "id")

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "prev": self.get_previous_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "prev"],
            "properties": {"results": schema, "next": link, "prev": link},
        }
