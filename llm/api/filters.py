"""Filters of the lists of providers and models."""

from django_filters import rest_framework as filters

from core.api.filters import Filters
from llm.choices import ModelKind, provider_types
from llm.models import Model, Provider


class ProviderFilters(Filters):
    type = filters.ChoiceFilter(choices=provider_types)

    class Meta:
        model = Provider
        fields = {
            "slug": ["exact", "in"],
            "is_active": ["exact"],
            "key_refused_at": ["isnull"],
            "updated_at": ["gte", "lte"],
        }


class ModelFilters(Filters):
    kind = filters.ChoiceFilter(choices=ModelKind.choices)
    # An id, not a choice of rows: whether another workspace holds it must not show.
    provider = filters.UUIDFilter(field_name="provider_id")
    fallback = filters.UUIDFilter(field_name="fallback_id")

    class Meta:
        model = Model
        fields = {
            "slug": ["exact", "in"],
            "identifier": ["exact"],
            "is_active": ["exact"],
            "is_default": ["exact"],
            "updated_at": ["gte", "lte"],
        }
