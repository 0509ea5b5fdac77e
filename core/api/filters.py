"""Filters and ordering that refuse what they do not know."""

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter
from rest_framework.request import Request

PAGE_PARAMETERS = frozenset({"limit", "cursor", "ordering", "search", "format"})


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]  # django-filter has no types
    """django-filter's filters; a misspelt one is a 400 instead of an unfiltered list."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        known = set(filterset_class.get_filters()) if filterset_class is not None else set()
        unknown = sorted(set(request.query_params) - known - PAGE_PARAMETERS)
        if unknown:
            listed = ", ".join(sorted(known)) or "none"
            raise ValidationError({name: [f"Unknown filter. Known: {listed}."] for name in unknown})
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


class StrictOrdering(OrderingFilter):
    """`?ordering=` over the view's `ordering_fields`; an unknown one is a 400."""

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Request) -> list[str]:
        valid = {name for name, _ in self.get_valid_fields(queryset, view, {"request": request})}
        unknown = [field for field in fields if field.lstrip("-") not in valid]
        if unknown:
            raise ValidationError({"ordering": [f"Cannot order by {unknown[0]}. Known: {', '.join(sorted(valid))}."]})
        return list(fields)
