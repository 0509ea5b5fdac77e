"""Connect: providers and models."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import display

from core.access import Permission, Principal
from core.admin import WorkspaceModelAdmin, WorkspaceRelatedFilter
from core.admin_display import moment, number, plain_amount
from llm import breaker
from llm.admin_drafts import DraftingModelAdmin
from llm.admin_forms import ModelForm, ProviderForm
from llm.admin_ollama import OllamaProviderAdmin
from llm.breaker import BreakerState
from llm.catalogue import CAPABILITIES
from llm.choices import ModelKind, ProviderType
from llm.models import Model, ModelPrice, Provider
from llm.price_services import price_add
from llm.services import (
    model_breaker_reset,
    model_create,
    model_delete,
    model_update,
    provider_create,
    provider_delete,
    provider_update,
)

KIND_COLOURS = {ModelKind.CHAT: "info", ModelKind.EMBEDDING: "primary", ModelKind.RERANK: "success"}


BREAKER_COLOURS = {BreakerState.CLOSED: "success", BreakerState.HALF_OPEN: "warning", BreakerState.OPEN: "danger"}
BREAKER_WORDS = {
    BreakerState.CLOSED: _("Answers"),
    BreakerState.HALF_OPEN: _("Being tried"),
    BreakerState.OPEN: _("Left alone"),
}


@admin.register(Provider)
class ProviderAdmin(OllamaProviderAdmin):
    """Endpoints of vendors, with their credentials."""

    form = ProviderForm
    list_display = ("name", "type", "base_url", "has_key", "model_total", "is_active")
    change_form_outer_before_template = "admin/llm/provider_top.html"
    list_filter = ("type", "is_active")
    search_fields = ("name", "slug", "base_url")
    prepopulated_fields = {"slug": ("name",)}
    add_permission = change_permission = delete_permission = Permission.ADMINISTER
    fieldsets = (
        (None, {"fields": ("name", "slug", "type", "base_url", "api_key", "is_active", "description")}),
        (_("Azure OpenAI"), {"fields": ("api_version",)}),
        (_("Amazon Bedrock and Google Vertex AI"), {"fields": ("region", "project", "access_key_id", "secret")}),
        (_("More"), {"fields": ("headers", "forget")}),
    )
    empty_title = _("No provider yet")
    empty_text = _("Connect a vendor with its key, or a server of your own, such as Ollama or vLLM.")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).annotate(models_total=Count("models"))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        obj = self.get_object(request, object_id) if object_id else None
        extra = {"key_refused": moment(obj.key_refused_at)} if obj else {}
        return super().changeform_view(request, object_id, form_url, {**extra, **(extra_context or {})})

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
        if obj.key_refused_at:
            return str(_("refused since %(time)s")) % {"time": moment(obj.key_refused_at)}
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
    hide_title = True
    fields = ("input", "cached_input", "output", "reasoning", "currency", "valid_from", "source", "note")
    readonly_fields = ("source",)
    readonly_preprocess_fields = dict.fromkeys(("input", "cached_input", "output", "reasoning"), plain_amount)
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
class ModelAdmin(DraftingModelAdmin):
    """What can be called at a provider."""

    form = ModelForm
    list_display = (
        "name",
        "kind_label",
        "provider",
        "identifier",
        "dimensions",
        "input_limit",
        "state",
        "is_default",
        "is_active",
    )
    list_filter = ("kind", ("provider", WorkspaceRelatedFilter), "is_active")
    list_select_related = ("provider",)
    search_fields = ("name", "slug", "identifier")
    autocomplete_fields = ("provider", "fallback")
    prepopulated_fields = {"slug": ("name",)}
    change_form_outer_before_template = "admin/llm/model_top.html"
    fieldsets = (
        (
            None,
            {"fields": ("provider", "identifier", "kind", "name", "slug", "is_default", "is_active", "description")},
        ),
        (_("Limits"), {"fields": ("max_input_tokens", "timeout_seconds", "dimensions", "shortens")}),
        (_("In a minute"), {"fields": ("requests_per_minute", "tokens_per_minute")}),
        (_("When it fails, or was asked before"), {"fields": ("fallback", "cache_seconds")}),
        (_("What it can do"), {"fields": CAPABILITIES}),
    )

    empty_title = _("No models yet")
    empty_text = _("Connect a provider first, then name the models that you want to use there.")

    def get_urls(self) -> list[Any]:
        reset = self.admin_site.admin_view(self.reset_breaker)
        return [path("<uuid:pk>/reset-breaker/", reset, name="llm_model_reset_breaker"), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("provider")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The breakers of the rows on the page, in one question."""
        changelist = super().get_changelist_instance(request)
        self._show_breakers(changelist.result_list)
        return changelist

    @staticmethod
    def _show_breakers(rows: Any) -> None:
        known = breaker.standings(rows)
        for row in rows:
            row.breaker = known[row.pk]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        obj = self.get_object(request, object_id) if object_id else None
        extra: dict[str, Any] = {}
        if obj is not None:
            extra["breaker"] = breaker.standings([obj])[obj.pk]
            if self.has_change_permission(request, obj):
                extra["breaker_reset_url"] = reverse("admin:llm_model_reset_breaker", args=[obj.pk])
        return super().changeform_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def reset_breaker(self, request: HttpRequest, pk: Any) -> HttpResponse:
        obj = self.object_or_404(request, str(pk))
        if request.method != "POST" or not self.has_change_permission(request, obj):
            raise PermissionDenied

        def act() -> HttpResponse:
            model_breaker_reset(obj, principal=self.principal(request))
            messages.success(request, _("Calls are let through again."))
            return page()

        def page() -> HttpResponse:
            return redirect("admin:llm_model_change", obj.pk)

        answer: HttpResponse = self.refusable(request, act, page)
        return answer

    @display(description=_("State"), label=BREAKER_COLOURS)
    def state(self, obj: Any) -> tuple[str, str]:
        return obj.breaker.state.value, str(BREAKER_WORDS[obj.breaker.state])

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
