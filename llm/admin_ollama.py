"""The admin's offer to use an Ollama on this machine: looked for by a button, connected by another."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext as _

from core.access import Permission, Principal
from llm import ollama
from llm.admin_drafts import DraftingProviderAdmin, named, told

SHOWN = 3


def ollama_names(principal: Principal) -> str:
    """The models of an Ollama that was found, in words; empty where there is nothing to offer to this person."""
    return named(ollama.offered_to(principal), SHOWN)


class OllamaProviderAdmin(DraftingProviderAdmin):
    """The list of providers looks for an Ollama. The buttons work without scripts."""

    list_before_template = "admin/llm/provider_list_top.html"

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("ollama/look/", view(self.look_for_ollama), name="llm_provider_look_for_ollama"),
            path("ollama/connect/", view(self.connect_ollama), name="llm_provider_connect_ollama"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        who = self.principal(request)
        looks = bool(settings.OLLAMA_URL) and who.allows(Permission.ADMINISTER)
        names = ollama_names(who)
        extra: dict[str, Any] = {"ollama": names, "ollama_url": settings.OLLAMA_URL}
        extra["ollama_look"] = looks and not names and not ollama.is_connected(who.workspace_id)
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    def look_for_ollama(self, request: HttpRequest) -> HttpResponse:
        def look(who: Principal) -> HttpResponse:
            found = [one.identifier for one in ollama.ollama_look(principal=who)]
            messages.success(request, _("Ollama answers, with %(names)s.") % {"names": named(found, SHOWN)})
            return redirect("admin:llm_provider_changelist")

        return self._asked(request, look)

    def connect_ollama(self, request: HttpRequest) -> HttpResponse:
        def connect(who: Principal) -> HttpResponse:
            made = ollama.ollama_connect(principal=who)
            names = named([one.name for one in made.models], SHOWN)
            messages.success(request, _("Ollama is connected, with %(names)s.") % {"names": names})
            for level, text in told(made.drafts) if made.drafts else ():
                messages.add_message(request, level, text)
            return redirect("admin:llm_provider_change", made.provider.pk)

        return self._asked(request, connect)

    def _asked(self, request: HttpRequest, act: Callable[[Principal], HttpResponse]) -> HttpResponse:
        if request.method != "POST" or not self._allows(request, Permission.ADMINISTER):
            raise PermissionDenied
        answer: HttpResponse = self.refusable(request, lambda: act(self.principal(request)))
        return answer
