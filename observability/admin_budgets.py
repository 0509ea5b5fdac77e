"""Monitor: budgets, what is used of them and when they begin anew."""

import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from core.access import Permission, Principal
from core.admin import WorkspaceModelAdmin
from core.admin_display import EMPTY, meter, moment, money_about
from core.admin_forms import WorkspaceForm
from observability.budget_models import Budget
from observability.budget_services import budget_create, budget_delete, budget_update
from observability.budgets.amounts import amount_text
from observability.budgets.standing import Standing, standings
from observability.budgets.targets import choices, names_of
from observability.choices import BudgetPeriodLength, BudgetScope, BudgetUnit

STATE_COLOURS = {"good": "success", "warned": "warning", "exhausted": "danger", "off": "default"}


class BudgetForm(WorkspaceForm):
    """The tool is chosen by its name."""

    tool = forms.ChoiceField(
        label=_("Tool"), required=False, widget=UnfoldAdminSelectWidget, help_text=_("Of a budget for a tool.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "tool" in self.fields:
            self.fields["tool"].choices = [("", EMPTY), *choices(self.principal.workspace_id)]  # type: ignore[attr-defined]  # of ChoiceField
        if "api_key" in self.fields:
            self.fields["api_key"].help_text = _("Of a budget for an API key.")
        if not self.instance._state.adding:
            self.initial["limit"] = _plain(self.instance.limit)
        if self.instance.target_id:
            self.initial["tool"] = f"{self.instance.target_kind}:{self.instance.target_id}"

    def clean(self) -> dict[str, Any]:
        """The model's own checks, which follow, need the tool."""
        cleaned = super().clean()
        self.instance.target_kind, self.instance.target_id = _split(cleaned.get("tool"))
        return cleaned

    def _update_errors(self, errors: ValidationError) -> None:
        found = getattr(errors, "error_dict", {})
        if "target_id" in found:
            found["tool"] = found.pop("target_id")
        super()._update_errors(errors)  # type: ignore[misc]  # of ModelForm, where the stubs leave it out

    def values(self) -> dict[str, Any]:
        values = super().values()
        values["target_kind"], values["target_id"] = _split(values.pop("tool", ""))
        return values

    class Meta:
        model = Budget
        fields = (
            "name", "slug", "scope", "api_key", "period", "zone", "unit", "currency", "limit", "warn_percent",
            "is_active", "description",
        )  # fmt: skip


def _plain(amount: Decimal) -> Decimal:
    """Without the zeros that say nothing."""
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount.normalize()


def _about(amount: Decimal, budget: Budget) -> str:
    """What is used or left, without the digits that nobody reads."""
    return money_about(amount, budget.currency) if budget.unit == BudgetUnit.MONEY else amount_text(amount, budget)


def _split(tool: str | None) -> tuple[str, uuid.UUID | None]:
    kind, _colon, target = (tool or "").partition(":")
    return kind, uuid.UUID(target) if target else None


@admin.register(Budget)
class BudgetAdmin(WorkspaceModelAdmin):
    """How much may be spent, and how much is. Admins change it."""

    form = BudgetForm
    list_display = ("name", "whose", "limit_text", "bar", "left", "begins_anew", "state")
    list_filter = ("scope", "period", "unit", "is_active")
    search_fields = ("name", "slug")
    list_select_related = ("api_key",)
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("bar", "left", "begins_anew", "state_text")
    add_permission = change_permission = delete_permission = Permission.ADMINISTER
    empty_title = _("No budgets yet")
    empty_text = _("A budget holds what a workspace, an API key or a tool spends in a day or month.")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        now = (_("Now"), {"fields": ("bar", "left", "begins_anew", "state_text")})
        return [
            (None, {"fields": ["name", "slug", "scope", "api_key", "tool", "is_active", "description"]}),
            (_("Limit"), {"fields": ["unit", "limit", "currency", "period", "zone", "warn_percent"]}),
            *([now] if obj is not None else []),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Where all of a page stand is one query, and another for each kind of tool."""
        response = super().changelist_view(request, extra_context)
        changelist = getattr(response, "context_data", {}).get("cl")
        rows = list(changelist.result_list) if changelist is not None else []
        found, names = standings(rows), names_of(rows)
        for row in rows:
            row.shown_standing, row.shown_tool = found[row.pk], names.get(row.target_id, str(row.target_id))
        return response

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Budget:
        return budget_create(principal=principal, values=values)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return budget_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        budget_delete(obj, principal=principal)

    @staticmethod
    def _standing(obj: Any) -> Standing:
        found: Standing | None = getattr(obj, "shown_standing", None)
        return found or standings([obj])[obj.pk]

    @display(description=_("For"), ordering="scope")
    def whose(self, obj: Any) -> str:
        named = {BudgetScope.API_KEY: obj.api_key, BudgetScope.TOOL: getattr(obj, "shown_tool", obj.target_id)}
        return str(named.get(obj.scope) or BudgetScope(obj.scope).label)

    @display(description=_("Limit"), ordering="limit")
    def limit_text(self, obj: Budget) -> str:
        return f"{amount_text(obj.limit, obj)} / {BudgetPeriodLength(obj.period).label}"

    @display(description=_("Used"))
    def bar(self, obj: Budget) -> SafeString:
        standing = self._standing(obj)
        label = f"{_about(standing.used, obj)} ({standing.share(obj.limit)} %)"
        return meter(f"{min(standing.used, obj.limit):f}", f"{obj.limit or 1:f}", label)

    @display(description=_("Left"))
    def left(self, obj: Budget) -> str:
        standing = self._standing(obj)
        held = _(" (calls that run now hold %(amount)s)") % {"amount": _about(standing.reserved, obj)}
        return _about(standing.left, obj) + (held if standing.reserved else "")

    @display(description=_("Begins anew"))
    def begins_anew(self, obj: Budget) -> str:
        return moment(self._standing(obj).ends_at)

    @display(description=_("State"), label=STATE_COLOURS)
    def state(self, obj: Budget) -> tuple[str, Any]:
        standing = self._standing(obj)
        if not obj.is_active:
            return "off", _("Off")
        if standing.used >= obj.limit:
            return "exhausted", _("Used up")
        if standing.used >= obj.limit * obj.warn_percent / 100:
            return "warned", _("Nearly used up")
        return "good", _("Good")

    @display(description=_("State"))
    def state_text(self, obj: Budget) -> Any:
        """On the page of a budget, where no label is drawn."""
        return self.state(obj)[1]
