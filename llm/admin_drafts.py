"""The admin's offer to answer with a newly connected chat model: one click makes drafts of the tools that could."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from core.access import Permission
from core.admin import WorkspaceModelAdmin
from llm.admin_trials import TestableModelAdmin, TestableProviderAdmin
from llm.choices import ProviderType
from llm.drafting import DraftState, Offer, ToolDraft, drafts_create, offer_of, offer_with
from llm.models import Model, Provider

NAMED = 2


def shown(offer: Offer | None) -> dict[str, Any] | None:
    """What `admin/llm/offer.html` draws."""
    if offer is None or not (offer.open or offer.made):
        return None
    return {
        "model": offer.model,
        "names": named([one.tool.name for one in offer.open], NAMED),
        "links": linked(offer.made),
    }


def named(names: Sequence[str], most: int) -> str:
    """The first of these by name, the others by number."""
    parts, more = list(names[:most]), len(names) - most
    if more > 0:
        parts.append(ngettext("%(n)d more", "%(n)d more", more) % {"n": more})
    if len(parts) < 2:
        return "".join(parts)
    return _("%(first)s and %(last)s") % {"first": ", ".join(parts[:-1]), "last": parts[-1]}


def linked(drafts: Sequence[ToolDraft]) -> SafeString:
    """Links to the drafts, divided by commas."""
    return format_html_join(
        ", ", '<a class="mg-link" href="{}">{}</a>', ((_page(one), one.tool.name) for one in drafts)
    )


def _page(one: ToolDraft) -> str:
    opts = one.tool._meta
    return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[one.tool.pk])


class OffersDrafts(WorkspaceModelAdmin):
    """A page that offers something beside its form, to those who may configure."""

    def offered(self, obj: Any) -> dict[str, Any]:
        """What the template above the form shows of the offer."""
        raise NotImplementedError

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        extra: dict[str, Any] = {}
        obj = self.get_object(request, object_id) if object_id else None
        if obj is not None and self._allows(request, Permission.MANAGE):
            extra = self.offered(obj)
        return super().changeform_view(request, object_id, form_url, {**extra, **(extra_context or {})})


class DraftingModelAdmin(OffersDrafts, TestableModelAdmin):
    """The page of a chat model offers drafts with it. The button works without scripts."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.make_drafts)
        return [path("<uuid:pk>/drafts/", view, name="llm_model_drafts"), *super().get_urls()]

    def offered(self, obj: Model) -> dict[str, Any]:
        return {"offer": shown(offer_with(obj))}

    def make_drafts(self, request: HttpRequest, pk: Any) -> HttpResponse:
        obj: Model = self.object_or_404(request, str(pk))
        if request.method != "POST" or not self._allows(request, Permission.MANAGE):
            raise PermissionDenied

        def act() -> HttpResponse:
            for level, text in told(drafts_create(obj, principal=self.principal(request))):
                messages.add_message(request, level, text)
            return page()

        def page() -> HttpResponse:
            if request.POST.get("back") == "overview":
                return redirect("admin:index")
            return redirect("admin:llm_model_change", obj.pk)

        answer: HttpResponse = self.refusable(request, act, page)
        return answer


def told(drafts: Sequence[ToolDraft]) -> list[tuple[int, SafeString]]:
    """What one click did, in words, with links to the tools."""
    sentences = (
        (DraftState.CREATED, messages.SUCCESS, _("Drafts are made; try them and publish what is good: {}.")),
        (DraftState.EXISTS, messages.INFO, _("These drafts were there already: {}.")),
        (DraftState.OTHER, messages.WARNING, _("These have another draft, which stays as it is: {}.")),
    )
    found = [(level, text, [one for one in drafts if one.state is state]) for state, level, text in sentences]
    said = [(level, format_html(text, linked(some))) for level, text, some in found if some]
    return said or [(messages.INFO, format_html(_("No tool waits for a chat model.")))]


class DraftingProviderAdmin(OffersDrafts, TestableProviderAdmin):
    """The page of a provider says what comes next: to choose a chat model, or to use it."""

    def offered(self, obj: Provider) -> dict[str, Any]:
        return {"offer": shown(offer_of(obj.workspace_id, provider=obj)), "choose_url": self._choose_url(obj)}

    @staticmethod
    def _choose_url(obj: Provider) -> str:
        """The form of a new model, while a connected provider has none."""
        if obj.type == ProviderType.LOCAL or not obj.is_active or obj.key_refused_at or obj.models.exists():
            return ""
        return f"{reverse('admin:llm_model_add')}?provider={obj.pk}"
