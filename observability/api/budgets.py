"""Budgets: who may spend how much, and where they stand."""

from typing import Any, ClassVar

from django_filters import rest_framework as filters
from rest_framework import serializers

from accounts.models import ApiKey
from core.access import Permission
from core.api.filters import Filters
from core.api.serializers import CONFIGURATION_FIELDS, CONFIGURATION_READ_ONLY, IdField, ScopedRelatedField
from core.api.views import ConfigurationViewSet
from observability.api.examples import BUDGETS
from observability.budget_models import Budget
from observability.budget_services import budget_create, budget_delete, budget_update
from observability.budgets.standing import Standing, standings


class StandingSerializer(serializers.Serializer[Standing]):
    """The current period. Amounts are decimal texts, in the unit of the budget."""

    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(help_text="When it begins anew.")
    used = serializers.DecimalField(max_digits=20, decimal_places=8)
    reserved = serializers.DecimalField(max_digits=20, decimal_places=8, help_text="By calls that run now.")
    left = serializers.DecimalField(max_digits=20, decimal_places=8)
    warned_at = serializers.DateTimeField(allow_null=True)
    exhausted_at = serializers.DateTimeField(allow_null=True)


class BudgetListSerializer(serializers.ListSerializer[Any]):
    """Where all budgets of a page stand is one query."""

    def to_representation(self, data: Any) -> list[Any]:
        rows = list(data)
        assert isinstance(self.child, BudgetSerializer)
        self.child.found = standings(rows)
        return super().to_representation(rows)


class BudgetSerializer(serializers.ModelSerializer[Budget]):
    """How much may be spent in each day or month."""

    found: "dict[Any, Standing] | None" = None
    api_key = ScopedRelatedField(model=ApiKey, required=False, allow_null=True, help_text="Id; for `scope: api_key`.")
    target_id = IdField(required=False, allow_null=True, help_text="Of the tool; for `scope: tool`.")
    limit = serializers.DecimalField(max_digits=20, decimal_places=8, min_value=0)
    standing = serializers.SerializerMethodField()

    class Meta:
        model = Budget
        list_serializer_class = BudgetListSerializer
        fields = (
            *CONFIGURATION_FIELDS, "scope", "api_key", "target_kind", "target_id", "period", "zone", "unit",
            "currency", "limit", "warn_percent", "is_active", "standing",
        )  # fmt: skip
        read_only_fields = CONFIGURATION_READ_ONLY

    def get_standing(self, budget: Budget) -> StandingSerializer:
        found = self.found if self.found is not None else standings([budget])
        shown: Any = StandingSerializer(found[budget.pk]).data
        return shown  # type: ignore[no-any-return]  # the annotation is for the schema


class BudgetFilters(Filters):
    api_key = filters.UUIDFilter(field_name="api_key_id")

    class Meta:
        model = Budget
        fields = {
            "slug": ["exact", "in"],
            "scope": ["exact"],
            "target_kind": ["exact"],
            "target_id": ["exact"],
            "period": ["exact"],
            "unit": ["exact"],
            "is_active": ["exact"],
            "updated_at": ["gte", "lte"],
        }


class BudgetViewSet(ConfigurationViewSet):
    """Limits of what is spent. Changing them takes an admin."""

    examples = BUDGETS
    model = Budget
    permissions: ClassVar[dict[str, Permission]] = dict.fromkeys(
        ("create", "partial_update", "destroy"), Permission.ADMINISTER
    )
    serializer_class = BudgetSerializer
    filterset_class = BudgetFilters
    ordering = ("name", "id")
    ordering_fields = ("name", "created_at", "updated_at")
    search_fields = ("name", "slug")

    def create_object(self, data: dict[str, Any]) -> Budget:
        return budget_create(principal=self.principal, values=data)

    def update_object(self, instance: Any, data: dict[str, Any], expected: int | None) -> Budget:
        return budget_update(instance, principal=self.principal, values=data, expected=expected)

    def delete_object(self, instance: Any) -> None:
        budget_delete(instance, principal=self.principal)
