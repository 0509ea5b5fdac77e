"""Monitor: jobs and runs."""

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from unfold.decorators import display

from core.access import Permission
from core.admin import PageModelAdmin
from core.admin_display import EMPTY, clipped, duration, moment, money, progress
from observability import admin_budgets, admin_schedules, admin_traces, admin_usage  # noqa: F401  # they register themselves
from observability.choices import JobStatus, RunStatus
from observability.models import Job, Run, UsageRecord
from observability.selectors import may_read_content
from observability.services import job_cancel, job_retry

JOB_COLOURS = {
    JobStatus.PENDING: "default",
    JobStatus.RUNNING: "info",
    JobStatus.SUCCEEDED: "success",
    JobStatus.FAILED: "danger",
    JobStatus.CANCELLED: "warning",
}
RUN_COLOURS = {
    RunStatus.RUNNING: "info",
    RunStatus.COMPLETED: "success",
    RunStatus.INCOMPLETE: "warning",
    RunStatus.FAILED: "danger",
    RunStatus.CANCELLED: "warning",
}
OPEN_JOBS = (JobStatus.PENDING, JobStatus.RUNNING)


@admin.register(Job)
class JobAdmin(PageModelAdmin):
    """Long work: how far it is, and why it ended."""

    page_template = "admin/observability/job.html"
    list_display = ("title", "status_label", "bar", "why", "attempts", "started")
    list_filter = ("status", "kind", "queue")
    search_fields = ("title", "reason")
    list_before_template = "admin/core/live_list.html"
    actions = ("retry_chosen",)
    empty_title = _("No jobs yet")
    empty_text = _("Uploading documents starts jobs. They show here how far they are, and why one failed.")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/retry/", view(require_POST(self.retry)), name="observability_job_retry"),
            path("<uuid:pk>/cancel/", view(require_POST(self.cancel)), name="observability_job_cancel"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        live = self.get_queryset(request).filter(status__in=OPEN_JOBS).exists()
        return super().changelist_view(request, {**(extra_context or {}), "live": live})

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        may = self._allows(request, Permission.INGEST)
        return {
            "open": obj.status in OPEN_JOBS,
            "may_retry": may and obj.status in (JobStatus.FAILED, JobStatus.CANCELLED),
            "may_cancel": may and obj.status in OPEN_JOBS,
        }

    def _job(self, request: HttpRequest, pk: Any) -> Job:
        job: Job = self.object_or_404(request, str(pk))
        if not self._allows(request, Permission.INGEST):
            raise PermissionDenied
        return job

    def retry(self, request: HttpRequest, pk: Any) -> HttpResponse:
        job = self._job(request, pk)

        def act() -> Any:
            job_retry(job, principal=self.principal(request))
            messages.success(request, _("The job is queued again."))
            return self.page_of(job)

        return self._on_page(request, job, act)

    def cancel(self, request: HttpRequest, pk: Any) -> HttpResponse:
        job = self._job(request, pk)

        def act() -> Any:
            job_cancel(job, principal=self.principal(request))
            messages.success(request, _("The job stops at its next step."))
            return self.page_of(job)

        return self._on_page(request, job, act)

    def _on_page(self, request: HttpRequest, job: Job, act: Any) -> HttpResponse:
        answer: HttpResponse = self.refusable(request, act, lambda: self.page_of(job))
        return answer

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return self._allows(request, Permission.INGEST)

    @admin.action(description=_("Retry the chosen jobs"), permissions=["retry"])
    def retry_chosen(self, request: HttpRequest, queryset: Any) -> None:
        chosen = [job for job in queryset if job.status in (JobStatus.FAILED, JobStatus.CANCELLED)]
        for job in chosen:
            job_retry(job, principal=self.principal(request))
        messages.info(request, _("Queued again: %(count)d") % {"count": len(chosen)})

    @display(description=_("Status"), ordering="status", label=JOB_COLOURS)
    def status_label(self, obj: Job) -> tuple[str, Any]:
        return obj.status, JobStatus(obj.status).label

    @display(description=_("Progress"))
    def bar(self, obj: Job) -> SafeString:
        return progress(obj.progress_done, obj.progress_total, obj.progress_unit)

    @display(description=_("Why"))
    def why(self, obj: Job) -> str:
        return clipped(obj.reason, 140) or "—"

    @display(description=_("Created"), ordering="id")
    def started(self, obj: Job) -> str:
        return moment(obj.created_at)


def _question(run: Run) -> str:
    return str(run.input.get("question") or run.input.get("query") or "")


def _given(run: Run) -> str:
    """What a prompt was given, a line for each variable and message."""
    variables = [f"{name}: {_line(value)}" for name, value in (run.input.get("variables") or {}).items()]
    messages = [f"{one.get('role')}: {_line(one.get('content'))}" for one in run.input.get("messages") or []]
    return "\n".join([*variables, *messages])


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@admin.register(Run)
class RunAdmin(PageModelAdmin):
    """Questions and searches, through any door. Viewers see what happened; contents of others are for operators."""

    page_template = "admin/observability/run.html"
    list_display = ("target_slug", "question", "status_label", "resolution_text", "model", "took", "person", "started")
    list_filter = ("status", "kind", "resolution")
    list_select_related = ("user",)
    search_fields = ("target_slug", "model")
    empty_title = _("No runs yet")
    empty_text = _("Ask a RAG tool, here or on the panel; every question shows here with its trace.")
    empty_link = ("admin:rag_ragtool_try", _("Ask a RAG tool"))

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("answer")

    def get_list_display(self, request: HttpRequest) -> Any:
        """Questions are contents."""
        shown = super().get_list_display(request)
        return shown if self._allows(request, Permission.MANAGE) else [one for one in shown if one != "question"]

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        may_read = may_read_content(obj, self.principal(request))
        answer = (obj.answer or {}) if may_read else {}
        return {
            "may_read": may_read,
            "question": _question(obj) if may_read else "",
            "asked": _given(obj) if may_read else "",
            "answer": answer,
            "passages": answer.get("retrieved") or answer.get("results") or [],
            "problem": obj.problem if may_read else None,
            "took_text": duration(obj.duration_ms),
            "usage": _usage_of(obj),
        }

    @display(description=_("Question"))
    def question(self, obj: Run) -> str:
        return clipped(_question(obj) or _given(obj).replace("\n", ", "), 80) or EMPTY

    @display(description=_("Status"), ordering="status", label=RUN_COLOURS)
    def status_label(self, obj: Run) -> tuple[str, Any]:
        return obj.status, RunStatus(obj.status).label

    @display(description=_("Resolution"), ordering="resolution")
    def resolution_text(self, obj: Run) -> str:
        return obj.resolution.replace("_", " ") or EMPTY

    @display(description=_("Took"), ordering="duration_ms")
    def took(self, obj: Run) -> str:
        return duration(obj.duration_ms)

    @display(description=_("Who"))
    def person(self, obj: Run) -> str:
        who = str(obj.user) if obj.user else "—"
        return f"{who} ({_('key')})" if obj.key_id else who

    @display(description=_("Started"), ordering="id")
    def started(self, obj: Run) -> str:
        return moment(obj.started_at)


def _usage_of(obj: Run) -> list[tuple[UsageRecord, str]]:
    """The calls of a run, each with its cost as people read it."""
    return [(one, money(one.cost, one.currency)) for one in obj.usage.all()]
