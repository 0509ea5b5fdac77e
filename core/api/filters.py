"""Filters, search and ordering that refuse what they do not know."""

from typing import Any, ClassVar

from django import forms
from django.core.validators import EMPTY_VALUES
from django.db import models
from django.db.models import QuerySet
from django_filters.rest_framework import BooleanFilter, DjangoFilterBackend, FilterSet
from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request

PAGE_PARAMETERS = frozenset({"limit", "cursor"})


class StrictBooleanField(forms.Field):
    """`true` or `false`; django-filter's own takes everything else for "not asked"."""

    def to_python(self, value: Any) -> bool | None:
        if value in EMPTY_VALUES:
            return None
        if str(value).lower() not in {"true", "false"}:
            raise forms.ValidationError("true or false.", code="invalid")
        return str(value).lower() == "true"


class StrictBooleanFilter(BooleanFilter):  # type: ignore[misc]  # django-filter has no types
    field_class = StrictBooleanField

    def __init__(self, *args: Any, **options: Any) -> None:
        options["widget"] = forms.TextInput
        super().__init__(*args, **options)


class Filters(FilterSet):  # type: ignore[misc]  # django-filter has no types
    """The base of all sets of filters."""

    FILTER_DEFAULTS: ClassVar[dict[Any, Any]] = {
        **FilterSet.FILTER_DEFAULTS,
        models.BooleanField: {"filter_class": StrictBooleanFilter},
    }


class StrictFilterBackend(DjangoFilterBackend):  # type: ignore[misc]  # django-filter has no types
    """django-filter's filters; a misspelt, repeated or empty one is a 400 instead of a list that it did not narrow."""

    filterset_base = Filters

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        filterset_class = self.get_filterset_class(view, queryset)
        known = set(filterset_class.get_filters()) if filterset_class is not None else set()
        known |= {name for name, there in _offers(view).items() if there}
        errors = {
            name: [f"Unknown filter. Known: {', '.join(sorted(known)) or 'none'}."]
            for name in sorted(set(request.query_params) - known - PAGE_PARAMETERS)
        }
        errors |= {name: ["Give it once."] for name, values in request.query_params.lists() if len(values) > 1}
        errors |= {name: ["Give it a value."] for name, value in request.query_params.items() if not value}
        if errors:
            raise ValidationError(errors)
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered


def _offers(view: Any) -> dict[str, bool]:
    return {
        "search": bool(getattr(view, "search_fields", None)),
        "ordering": bool(getattr(view, "ordering_fields", None)),
    }


class StrictSearch(SearchFilter):
    """`?search=` over the view's `search_fields`, with the offence pointed at."""

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        fields = getattr(view, "search_fields", None)
        if not fields:
            return []
        text = f"Rows that hold each of these words in one of: {', '.join(fields)}."
        schema = {"type": "string", "minLength": 1}
        return [{"name": "search", "in": "query", "required": False, "description": text, "schema": schema}]

    def get_search_terms(self, request: Request) -> Any:
        try:
            return super().get_search_terms(request)
        except ValidationError as error:
            raise ValidationError({"search": error.detail}) from None


class StrictOrdering(OrderingFilter):
    """`?ordering=` over the view's `ordering_fields`; an unknown one is a 400."""

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        fields = getattr(view, "ordering_fields", None)
        if not fields:
            return []
        known = [order for field in fields for order in (field, f"-{field}")]
        schema = {"type": "array", "items": {"type": "string", "enum": known}, "minItems": 1}
        return [
            {
                "name": "ordering",
                "in": "query",
                "required": False,
                "description": "Fields to order by, separated by commas; `-` turns one round.",
                "schema": schema,
                "style": "form",
                "explode": False,
            }
        ]

    def remove_invalid_fields(self, queryset: Any, fields: Any, view: Any, request: Request) -> list[str]:
        valid = [name for name, _ in self.get_valid_fields(queryset, view, {"request": request})]
        unknown = [field for field in fields if field.removeprefix("-") not in valid]
        if unknown:
            known = ", ".join(sorted(valid))
            raise ValidationError({"ordering": [f"Cannot order by '{unknown[0][:100]}'. Known: {known}."]})
        return list(fields)
