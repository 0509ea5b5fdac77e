"""The admin's first page: what is there, what runs, and what to do next."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.current_workspace import current_principal
from core.access import Permission, Principal, Role
from core.admin_display import number
from knowledge.choices import DocumentStatus
from knowledge.models import Document
from knowledge.quota import FULL_SOON, use_of
from llm.admin_drafts import shown
from llm.admin_ollama import ollama_names
from llm.choices import ProviderType
from llm.drafting import offer_of
from llm.models import Provider
from observability.budget_models import Budget
from observability.budgets.standing import alerts
from observability.choices import JobStatus
from observability.models import Job, Run
from rag.models import RagTool


@dataclass(frozen=True)
class Tile:
    """A figure that leads to its list."""

    figure: str
    label: str
    url: str
    bad: bool = False


@dataclass(frozen=True)
class Step:
    """Something to do in a new workspace, and whether it is done."""

    label: str
    url: str
    done: bool


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's dashboard callback."""
    principal = current_principal(request, Role.VIEWER)
    if principal is None:
        return context
    tools = RagTool.objects.for_workspace(principal.workspace_id)
    served = tools.filter(variants__is_active=True)
    documents = _documents(principal)
    return {
        **context,
        "title": _("Overview"),
        "tiles": [
            *_budget_tiles(principal),
            *_document_tiles(documents),
            _storage_tile(principal),
            *_work_tiles(principal, served.count()),
        ],
        "steps": _steps(principal, documents["ready"] > 0, served.first()),
        "ask_tools": list(served[:6]),
        "offer": _offer(principal),
        "ollama": ollama_names(principal),
        "may_configure": principal.allows(Permission.MANAGE),
    }


def _offer(principal: Principal) -> dict[str, Any] | None:
    """One click that makes the tools answer with a connected chat model, for those who may."""
    return shown(offer_of(principal.workspace_id)) if principal.allows(Permission.MANAGE) else None


def _documents(principal: Principal) -> dict[str, int]:
    rows = Document.objects.for_workspace(principal.workspace_id)
    found: dict[str, int] = rows.aggregate(
        ready=Count("pk", filter=Q(status=DocumentStatus.READY)),
        failed=Count("pk", filter=Q(status=DocumentStatus.FAILED)),
    )
    return found


def _document_tiles(documents: dict[str, int]) -> list[Tile]:
    url = reverse("admin:knowledge_document_changelist")
    tiles = [Tile(number(documents["ready"]), _("documents ready"), f"{url}?status__exact=ready")]
    if documents["failed"]:
        tiles.append(Tile(number(documents["failed"]), _("documents failed"), f"{url}?status__exact=failed", bad=True))
    return tiles


def _budget_tiles(principal: Principal) -> list[Tile]:
    """Budgets that are nearly or wholly used up in this period."""
    return [
        Tile(
            f"{one.standing.share(one.budget.limit)} %",
            _("of the budget %(name)s used") % {"name": one.budget.name},
            reverse("admin:observability_budget_change", args=[one.budget.pk]),
            bad=True,
        )
        for one in alerts(Budget.objects.for_workspace(principal.workspace_id))
    ]


def _storage_tile(principal: Principal) -> Tile:
    use, url = use_of(principal.workspace_id), reverse("admin:knowledge_document_changelist")
    label = _("MB of %(most)s in files") % {"most": number(settings.QUOTA_STORAGE_BYTES >> 20)}
    return Tile(number(-(-use.bytes // 2**20)), label, url, bad=use.bytes >= FULL_SOON * settings.QUOTA_STORAGE_BYTES)


def _work_tiles(principal: Principal, served: int) -> list[Tile]:
    jobs = Job.objects.for_workspace(principal.workspace_id).filter(status__in=[JobStatus.PENDING, JobStatus.RUNNING])
    runs = Run.objects.for_workspace(principal.workspace_id)
    return [
        Tile(number(served), _("RAG tools served"), reverse("admin:rag_ragtool_changelist")),
        Tile(number(jobs.count()), _("jobs at work"), reverse("admin:observability_job_changelist")),
        Tile(number(runs.count()), _("runs so far"), reverse("admin:observability_run_changelist")),
    ]


def _steps(principal: Principal, has_documents: bool, tool: RagTool | None) -> list[Step]:
    """Empty for those who could not take them."""
    if not principal.allows(Permission.MANAGE):
        return []
    asked = Run.objects.for_workspace(principal.workspace_id).exists()
    providers = Provider.objects.for_workspace(principal.workspace_id)
    connected = providers.exclude(type=ProviderType.LOCAL).exists()
    ask = reverse("admin:rag_ragtool_ask", args=[tool.pk]) if tool else reverse("admin:rag_ragtool_changelist")
    return [
        Step(
            _("Add documents to a knowledge source"),
            reverse("admin:knowledge_knowledgesource_changelist"),
            has_documents,
        ),
        Step(_("Publish a RAG tool"), reverse("admin:rag_ragtool_changelist"), tool is not None),
        Step(_("Ask it a question"), ask, asked),
        Step(_("Connect a provider for free wording (optional)"), reverse("admin:llm_provider_changelist"), connected),
    ]
