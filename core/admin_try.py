"""Pages of the admin on which something with variants is tried in place."""

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from core.access import Permission
from core.admin_variants import VariantedModelAdmin

MAX_OFFERED = 200
NO_ID = "00000000-0000-0000-0000-000000000000"  # pages put the id in its place


class TryAdmin(VariantedModelAdmin):
    """An object with variants and a page to run any of them that this person may run.

    try_name: the last part of the page's address. try_verb: on the button of the list.
    """

    change_form_outer_before_template = "admin/core/try_top.html"
    try_name: ClassVar[str]
    try_label: ClassVar[Any]
    try_verb: ClassVar[Any]
    try_template: ClassVar[str]

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("try/", view(self.try_choose), name=f"{name}_try"),
            path(f"<uuid:pk>/{self.try_name}/", view(self.try_page), name=f"{name}_{self.try_name}"),
            *super().get_urls(),
        ]

    def try_url(self, obj: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{self.try_name}", args=[obj.pk])

    def try_choose(self, request: HttpRequest) -> HttpResponse:
        """One object: its page; several: a choice."""
        found = list(self.get_queryset(request)[:MAX_OFFERED])
        if len(found) == 1:
            return redirect(self.try_url(found[0]))
        rows = [(one, self.try_url(one)) for one in found]
        context = self.page_context(request, self.try_label, rows=rows, label=self.try_label)
        return TemplateResponse(request, "admin/core/try_choose.html", context)

    def try_page(self, request: HttpRequest, pk: Any) -> HttpResponse:
        obj = self.object_or_404(request, str(pk))
        may_configure = self.principal(request).allows(Permission.MANAGE)
        variants = [one for one in self.variants_to_try(obj) if may_configure or not one.is_draft]
        context = self.page_context(
            request,
            self.try_label,
            obj,
            object=obj,
            try_variants=variants,
            may_configure=may_configure,
            chosen_variant=_chosen(request, variants),
            trace_url=reverse("admin:observability_trace_change", args=[NO_ID]),
            **self.try_context(obj, variants),
        )
        return TemplateResponse(request, self.try_template, context)

    def try_context(self, obj: Any, variants: list[Any]) -> dict[str, Any]:
        """What the page's template needs besides."""
        raise NotImplementedError

    def variants_to_try(self, obj: Any) -> list[Any]:
        return list(obj.variants.order_by("-is_active", "-number"))

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        obj = self.get_object(request, object_id) if object_id else None
        extra = {"try_url": self.try_url(obj), "try_label": self.try_label} if obj else {}
        return super().changeform_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    @display(description="")
    def try_link(self, obj: Any) -> SafeString:
        return format_html('<a class="mg-button" href="{}">{}</a>', self.try_url(obj), self.try_verb)


def _chosen(request: HttpRequest, variants: list[Any]) -> int | None:
    """The variant that the page begins with: the one that its address names, else the one that is served."""
    named = next((one.number for one in variants if str(one.number) == request.GET.get("variant")), None)
    return named or next((one.number for one in variants if one.is_active), None)
