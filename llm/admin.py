"""Connect: providers and models."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget

from core.access import Permission, Principal
from core.admin import WorkspaceModelAdmin, WorkspaceRelatedFilter
from core.admin_display import number
from core.admin_forms import WorkspaceForm
from llm.choices import ModelKind, ProviderType
from llm.models import Model, ModelPrice, Provider
from llm.price_services import price_add
from llm.services import (
    model_create,
    model_delete,
    model_update,
    provider_create,
    provider_delete,
    provider_update,
)

KIND_COLOURS = {ModelKind.CHAT: "info", ModelKind.EMBEDDING: "primary"}


class ProviderForm(WorkspaceForm):
    """The key is written, never read: an empty field leaves it as it is."""

    api_key = forms.CharField(
        label=_("API key"),
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget(render_value=False, attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "api_key" not in self.fields:
            return
        stored = "" if self.instance._state.adding else self.instance.api_key.masked()
        self.fields["api_key"].help_text = (
            _("Stored: %(masked)s. Leave empty to keep it. Another base URL clears it.") % {"masked": stored}
            if stored
            else _("Stored encrypted and never shown again.")
        )

    class Meta:
        model = Provider
        fields = ("name", "slug", "type", "base_url", "api_key", "is_active", "description")


@admin.register(Provider)
class ProviderAdmin(WorkspaceModelAdmin):
    """Endpoints of vendors, with their credentials."""

    form = ProviderForm
    list_display = ("name", "type", "base_url", "has_key", "model_total", "is_active")
    list_filter = ("type", "is_active")
    search_fields = ("name", "slug", "base_url")
    prepopulated_fields = {"slug": ("name",)}
    add_permission = change_permission = delete_permission = Permission.ADMINISTER
    fieldsets = ((None, {"fields": ("name", "slug", "type", "base_url", "api_key", "is_active", "description")}),)
    empty_title = _("No provider yet")
    empty_text = _("Connect OpenAI or any endpoint that speaks its protocol, such as Ollama or vLLM.")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(models_total=Count("models"))

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Provider:
        return provider_create(principal=principal, values=values)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return provider_update(obj, principal=principal, values=values, expected=expected)

    def remove_object(self, principal: Principal, obj: Any) -> None:
        provider_delete(obj, principal=principal)

    @display(description=_("Key"))
    def has_key(self, obj: Provider) -> str:
        if obj.type == ProviderType.LOCAL:
            return str(_("needs none"))
        return obj.api_key.masked() or str(_("none"))

    @display(description=_("Models"), ordering="models_total")
    def model_total(self, obj: Any) -> int:
        return int(obj.models_total)


PRICE_FIELDS = ("input", "cached_input", "output", "reasoning", "currency", "valid_from", "note")


class NewPriceForm(forms.ModelForm):  # type: ignore[type-arg]  # as the admin's own forms
    """A price that is added with the save of the model; the amounts may stay empty then."""

    class Meta:
        model = ModelPrice
        fields = PRICE_FIELDS

    def clean(self) -> dict[str, Any]:
        """The row's workspace is its model's."""
        self.instance.workspace_id = self.instance.model.workspace_id
        return super().clean() or {}

    def values(self) -> dict[str, Any]:
        return {name: self.cleaned_data.get(name) for name in PRICE_FIELDS}


class PriceInline(TabularInline):
    """The history of prices, newest first. An admin adds rows; nobody changes one."""

    model = ModelPrice
    form = NewPriceForm
    extra = 0
    can_delete = False
    show_change_link = False
    fields = ("input", "cached_input", "output", "reasoning", "currency", "valid_from", "source", "note")
    readonly_fields = ("source",)
    ordering = ("-valid_from", "-id")
    verbose_name = _("price of 1,000,000 tokens")
    verbose_name_plural = _("prices of 1,000,000 tokens")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._admin(request).has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and self._admin(request)._allows(request, Permission.ADMINISTER)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return ModelPrice.objects.for_workspace(self._admin(request).principal(request).workspace_id)

    def _admin(self, request: HttpRequest) -> WorkspaceModelAdmin:
        del request
        found: WorkspaceModelAdmin = self.admin_site._registry[Model]
        return found


@admin.register(Model)
class ModelAdmin(WorkspaceModelAdmin):
    """What can be called at a provider."""

    list_display = (
        "name",
        "kind_label",
        "provider",
        "identifier",
        "dimensions",
        "input_limit",
        "is_default",
        "is_active",
    )
    list_filter = ("kind", ("provider", WorkspaceRelatedFilter), "is_active")
    list_select_related = ("provider",)
    search_fields = ("name", "slug", "identifier")
    autocomplete_fields = ("provider",)
    prepopulated_fields = {"slug": ("name",)}
    fieldsets = (
        (
            None,
            {"fields": ("name", "slug", "provider", "kind", "identifier", "is_default", "is_active", "description")},
        ),
        (_("Limits"), {"fields": ("max_input_tokens", "timeout_seconds", "dimensions", "shortens")}),
    )
    empty_title = _("No models yet")
    empty_text = _("Connect a provider first, then name the models that you want to use there.")

    def create_object(self, principal: Principal, obj: Any, values: Mapping[str, Any]) -> Model:
        return model_create(principal=principal, values=values)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return model_update(obj, principal=principal, values=values, expected=expected)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """A new model gets its price from the catalogue, where it is known."""
        return () if obj is None else (PriceInline,)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """New prices go through their service; rows that are there are not in the form."""
        who = self.principal(request)
        for formset in formsets:
            new = [one for one in formset.forms if one.has_changed() and one.instance._state.adding]
            formset.new_objects = [price_add(form.instance, principal=who, values=one.values()) for one in new]
            formset.changed_objects = formset.deleted_objects = []

    def remove_object(self, principal: Principal, obj: Any) -> None:
        model_delete(obj, principal=principal)

    @display(description=_("Kind"), ordering="kind", label=KIND_COLOURS)
    def kind_label(self, obj: Model) -> tuple[str, Any]:
        return obj.kind, ModelKind(obj.kind).label

    @display(description=_("Input limit (tokens)"), ordering="max_input_tokens")
    def input_limit(self, obj: Model) -> str:
        return number(obj.max_input_tokens)
