"""The admin's sidebar: sections by task, each entry for those who may see it."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Entry:
    """A page of the sidebar. model: app_label.modelname of the list it opens; query: its preset filters."""

    title: Any
    icon: str
    model: str
    page: str = "changelist"


SECTIONS: tuple[tuple[Any, tuple[Entry, ...]], ...] = (
    (
        _("Configure"),
        (
            Entry(_("RAG tools"), "forum", "rag.ragtool"),
            Entry(_("Retrieval tools"), "manage_search", "rag.retrievaltool"),
            Entry(_("Prompt templates"), "edit_note", "prompts.prompttemplate"),
            Entry(_("Knowledge sources"), "library_books", "knowledge.knowledgesource"),
        ),
    ),
    (
        _("Connect"),
        (Entry(_("Providers"), "hub", "llm.provider"), Entry(_("Models"), "neurology", "llm.model")),
    ),
    (
        _("Test"),
        (
            Entry(_("Ask a RAG tool"), "chat", "rag.ragtool", "try"),
            Entry(_("Search"), "search", "rag.retrievaltool", "try"),
            Entry(_("Run a prompt"), "play_arrow", "prompts.prompttemplate", "try"),
        ),
    ),
    (
        _("Monitor"),
        (
            Entry(_("Documents"), "description", "knowledge.document"),
            Entry(_("Jobs"), "pending_actions", "observability.job"),
            Entry(_("Runs"), "play_circle", "observability.run"),
            Entry(_("Traces"), "account_tree", "observability.trace"),
            Entry(_("Usage"), "monitoring", "observability.usagerecord", "report"),
            Entry(_("Model calls"), "receipt_long", "observability.usagerecord"),
            Entry(_("Budgets"), "savings", "observability.budget"),
            Entry(_("Schedules"), "schedule", "observability.schedule"),
            Entry(_("Audit log"), "policy", "accounts.auditevent"),
        ),
    ),
    (
        _("Access"),
        (
            Entry(_("Workspaces"), "workspaces", "accounts.workspace"),
            Entry(_("Members"), "group", "accounts.membership"),
            Entry(_("Groups"), "groups", "accounts.group"),
            Entry(_("People"), "person", "accounts.user"),
            Entry(_("API keys"), "key", "accounts.apikey"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """What Unfold draws. Sections without an entry for this person are left out."""
    found = [
        {"title": title, "items": items}
        for title, entries in SECTIONS
        if (items := [_item(entry) for entry in entries if _visible(entry, request)])
    ]
    _mark_active([item for section in found for item in section["items"]], request.path)
    return found


def _mark_active(items: list[dict[str, Any]], path: str) -> None:
    """One entry at most: some pages lie below the list of another entry."""
    here = max((item["link"] for item in items if path.startswith(item["link"])), key=len, default="")
    for item in items:
        item["active"] = item["link"] == here


def _visible(entry: Entry, request: HttpRequest) -> bool:
    model_admin = _admins().get(entry.model)
    return model_admin is not None and model_admin.has_view_permission(request)


def _item(entry: Entry) -> dict[str, Any]:
    link = reverse(f"admin:{entry.model.replace('.', '_')}_{entry.page}")
    return {"title": entry.title, "icon": entry.icon, "link": link}


def _admins() -> dict[str, Any]:
    return {model._meta.label_lower: model_admin for model, model_admin in admin.site._registry.items()}
