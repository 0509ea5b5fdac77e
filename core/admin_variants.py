"""Variants in the admin: listed inside their object, edited as a draft, published, compared, rolled back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.decorators import action, display

from core.access import Permission, Principal
from core.admin import WorkspaceModelAdmin
from core.admin_display import EMPTY, moment
from core.models import ConfigurationModel
from core.text_diff import Part, text_diff
from core.variant_services import (
    variant_activate,
    variant_create_draft,
    variant_diff,
    variant_edit,
    variant_publish,
)
from core.variants import Variant

MAX_LISTED = 50
MARKED_FROM = 80  # characters


@dataclass(frozen=True)
class ShownChange:
    """A difference as people read it: the field's label and both values as text."""

    label: str
    before: Sequence[Part]
    after: Sequence[Part]


class VariantedModelAdmin(WorkspaceModelAdmin):
    """An object with variants: they are listed under its form, with what can be done to each."""

    change_form_outer_after_template = "admin/core/variants.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("variants")

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/variants/new/", view(require_POST(self.variant_new)), name=f"{name}_variant_new"),
            path(
                "<uuid:pk>/variants/<int:n>/publish/",
                view(require_POST(partial(self.variant_move, move="publish"))),
                name=f"{name}_variant_publish",
            ),
            path(
                "<uuid:pk>/variants/<int:n>/activate/",
                view(require_POST(partial(self.variant_move, move="activate"))),
                name=f"{name}_variant_activate",
            ),
            path("<uuid:pk>/variants/<int:a>/diff/<int:b>/", view(self.variant_compare), name=f"{name}_variant_diff"),
            *super().get_urls(),
        ]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        extra = {**(extra_context or {})}
        parent = self.get_object(request, object_id) if object_id else None
        if parent is not None:
            extra |= self.variant_context(request, parent)
        return super().changeform_view(request, object_id, form_url, extra)

    def variant_context(self, request: HttpRequest, parent: Any) -> dict[str, Any]:
        variants = list(parent.variants.select_related("created_by", "published_by").order_by("-number")[:MAX_LISTED])
        for variant in variants:
            variant.parent = parent
        model = parent.variants.model
        return {
            "variants": variants,
            "variant_draft": next((one for one in variants if one.is_draft), None),
            "variant_active": next((one for one in variants if one.is_active), None),
            "variant_change_url": f"admin:{model._meta.app_label}_{model._meta.model_name}_change",
            "variant_urls": f"admin:{self.opts.app_label}_{self.opts.model_name}_variant",
            "variant_may_change": self.has_change_permission(request, parent),
        }

    def variant_new(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Start the next draft, as a copy of the variant that the form names."""
        parent, principal = self._parent_to_change(request, pk)
        number = request.POST.get("copy_of", "")
        source = self._variant(parent, int(number)) if number.isdecimal() else None

        def start() -> HttpResponse:
            draft = variant_create_draft(parent, actor=principal.user, copy_of=source)
            return redirect(f"admin:{draft._meta.app_label}_{draft._meta.model_name}_change", draft.pk)

        return self._on_parent(request, parent, start)

    def variant_move(self, request: HttpRequest, pk: Any, n: int, move: str) -> HttpResponse:
        """Publish a draft, or serve a published variant again."""
        parent, principal = self._parent_to_change(request, pk)
        variant = self._variant(parent, n)

        def act() -> HttpResponse:
            if move == "publish":
                variant_publish(variant, actor=principal.user)
                text = _("Variant %(n)d is published and served from now on.")
            else:
                variant_activate(variant)
                text = _("Variant %(n)d is served again.")
            self.log_change(request, parent, text % {"n": n})
            messages.success(request, text % {"n": n})
            return self._page_of(parent)

        return self._on_parent(request, parent, act)

    def variant_compare(self, request: HttpRequest, pk: Any, a: int, b: int) -> HttpResponse:
        parent = self.object_or_404(request, str(pk))
        before, after = self._variant(parent, a), self._variant(parent, b)
        changes = shown_changes(before, after)
        title = _("Variant %(a)d and variant %(b)d") % {"a": a, "b": b}
        context = self.page_context(request, title, parent, object=parent, before=before, after=after, changes=changes)
        return TemplateResponse(request, "admin/core/variant_diff.html", context)

    def _parent_to_change(self, request: HttpRequest, pk: Any) -> tuple[Any, Principal]:
        parent = self.object_or_404(request, str(pk))
        if not self.has_change_permission(request, parent):
            raise PermissionDenied
        return parent, self.principal(request)

    @staticmethod
    def _variant(parent: ConfigurationModel, number: int) -> Any:
        found = parent.variants.filter(number=number).first()  # type: ignore[attr-defined]  # Variant.parent's reverse
        if found is None:
            raise Http404
        found.parent = parent
        return found

    def _on_parent(self, request: HttpRequest, parent: Any, act: Any) -> HttpResponse:
        """Run `act`; a refusal becomes a message on the page of the object."""
        answer: HttpResponse | None = self.refusable(request, act, lambda: self._page_of(parent))
        return answer or self._page_of(parent)

    def _page_of(self, parent: Any) -> HttpResponse:
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", parent.pk)

    @display(description=gettext_lazy("Served"), label={"yes": "success", "no": "default"})
    def served(self, obj: Any) -> tuple[str, Any]:
        active = next((one for one in obj.variants.all() if one.is_active), None)
        return ("yes", _("Variant %(n)d") % {"n": active.number}) if active else ("no", _("Nothing yet"))

    @display(description=gettext_lazy("Draft"), label={"draft": "warning"})
    def draft(self, obj: Any) -> Any:
        draft = next((one for one in obj.variants.all() if one.is_draft), None)
        return ("draft", _("Variant %(n)d") % {"n": draft.number}) if draft else None

    @display(description=gettext_lazy("Updated"), ordering="updated_at")
    def updated(self, obj: Any) -> str:
        return moment(obj.updated_at)


class VariantAdmin(WorkspaceModelAdmin):
    """The form of one variant: a draft can be edited, a published one is read."""

    add_permission: ClassVar[Permission | None] = None
    delete_permission: ClassVar[Permission | None] = None
    list_display = ("__str__", "status", "is_active", "note", "updated_at")
    list_select_related = ("parent",)
    actions_submit_line = ("save_and_publish",)
    change_form_outer_before_template = "admin/core/variant_state.html"

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (not isinstance(obj, Variant) or obj.is_draft)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name != "parent"]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        return (*(super().get_exclude(request, obj) or ()), "parent")

    def get_actions_submit_line(self, request: HttpRequest, object_id: Any) -> list[Any]:
        variant = self.get_object(request, str(object_id))
        if variant is None or not self.has_change_permission(request, variant):
            return []
        actions: list[Any] = super().get_actions_submit_line(request, object_id)
        return actions

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        variant = context.get("original")
        if variant is not None:
            parent = variant.parent._meta
            name = f"admin:{parent.app_label}_{parent.model_name}_change"
            context["variant_parent_url"] = reverse(name, args=[variant.parent_id])
            admin = self.admin_site._registry.get(type(variant.parent))
            if hasattr(admin, "try_url"):
                context["variant_try_url"] = f"{admin.try_url(variant.parent)}?variant={variant.number}"
                context["variant_try_label"] = admin.try_label
        return super().render_change_form(request, context, *args, **kwargs)

    def update_object(self, principal: Principal, obj: Any, values: Mapping[str, Any], expected: int | None) -> Any:
        return variant_edit(obj, values=values, expected=expected)

    @action(description=gettext_lazy("Save and publish"), icon="publish")
    def save_and_publish(self, request: HttpRequest, obj: Any) -> None:
        variant_publish(obj, actor=self.principal(request).user)
        messages.success(request, _("Variant %(n)d is published and served from now on.") % {"n": obj.number})

    def response_post_save_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        return self._parent_page(obj)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Variants have no list of their own: they stand on the page of their object."""
        parent = self.model._meta.get_field("parent").related_model
        return redirect(f"admin:{parent._meta.app_label}_{parent._meta.model_name}_changelist")

    @staticmethod
    def _parent_page(obj: Any) -> HttpResponse:
        parent = obj.parent._meta
        return redirect(f"admin:{parent.app_label}_{parent.model_name}_change", obj.parent_id)


def shown_changes(before: Variant, after: Variant) -> list[ShownChange]:
    """What differs between two variants, in words."""
    return [
        ShownChange(_label(before, name), *_compared(_text(before, name), _text(after, name)))
        for name in (change.field for change in variant_diff(before, after))
    ]


def _compared(before: str, after: str) -> tuple[Sequence[Part], Sequence[Part]]:
    """A short line is told apart at a glance; in longer texts the words that differ are marked."""
    short = "\n" not in before + after and max(len(before), len(after)) < MARKED_FROM
    if short or EMPTY in (before, after):
        return [Part(before, False)], [Part(after, False)]
    return text_diff(before, after)


def _label(variant: Variant, name: str) -> str:
    return capfirst(str(getattr(variant._meta.get_field(name), "verbose_name", name)))


def _text(variant: Variant, name: str) -> str:
    field: Any = variant._meta.get_field(name)
    if field.many_to_many:
        return ", ".join(str(row) for row in getattr(variant, name).all()) or EMPTY
    value = getattr(variant, name)
    if isinstance(field, models.JSONField):
        return _plain(value)
    if field.choices:
        return str(getattr(variant, f"get_{name}_display")())
    return EMPTY if value in (None, "") else str(value)


def _plain(value: Any) -> str:
    """JSON as text to read: rows of a list as `name: value` lines with a gap between them."""
    if not value and value != 0:
        return EMPTY
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return "\n\n".join("\n".join(f"{name}: {_one(cell)}" for name, cell in row.items()) for row in value)
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\\n", "\n")


def _one(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
