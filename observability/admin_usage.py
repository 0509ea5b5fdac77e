"""Monitor: the usage page, and the list of single calls behind it."""

from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import PageModelAdmin
from core.admin_display import duration, moment, money, money_about, number
from core.exceptions import InvalidInput
from observability.choices import SpanStatus
from observability.models import UsageRecord, UsageRollup
from observability.selectors import costs_of
from observability.usage.export import csv_response, csv_rows
from observability.usage.labels import labels
from observability.usage.page import shown_filters, usage_page
from observability.usage.query import (
    GroupBy,
    Interval,
    Period,
    Preset,
    UsageQuery,
    choice_of,
    filters_of,
    period_of,
    preset_period,
    zone_of,
)
from observability.usage.report import Level, usage_report

SPAN_COLOURS = {SpanStatus.OK: "success", SpanStatus.ERROR: "danger"}
COLUMNS = (
    _("Calls"), _("Errors"), _("Input (tokens)"), _("Output (tokens)"), _("Cost"), _("Median"), _("p95"), _("p99"),
)  # fmt: skip
PERIODS = (
    (Preset.DAY.value, _("last 24 hours")),
    (Preset.WEEK.value, _("last 7 days")),
    (Preset.MONTH.value, _("last 30 days")),
    (Preset.QUARTER.value, _("last 90 days")),
    (Preset.THIS_MONTH.value, _("this month")),
    (Preset.LAST_MONTH.value, _("last month")),
    ("own", _("from … to …")),
)


class PeriodForm(forms.Form):
    """What the page is asked, in its address; every value has a default."""

    period = forms.ChoiceField(label=_("Period"), choices=PERIODS, required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    zone = forms.CharField(label=_("Time zone"), required=False, max_length=64)
    by = forms.ChoiceField(label=_("By"), choices=GroupBy.choices, required=False)
    step = forms.ChoiceField(label=_("Steps"), choices=[("", _("to fit")), *Interval.choices], required=False)


def _chosen(request: HttpRequest, name: str, default: str) -> str:
    return request.GET.get(name) or default


def period_asked(request: HttpRequest) -> Period:
    """The period of the page's address. Raises InvalidInput."""
    zone = zone_of(_chosen(request, "zone", "UTC"))
    preset = _chosen(request, "period", Preset.WEEK.value)
    if preset == "own":
        return period_of(_chosen(request, "since", ""), _chosen(request, "until", ""), zone, timezone.now())
    return preset_period(choice_of(Preset, "period", preset), zone, timezone.now())


@admin.register(UsageRecord)
class UsageAdmin(PageModelAdmin):
    """Tokens, cost, latency and errors over time; and every single call."""

    page_template = "admin/observability/usage.html"
    list_display = (
        "model_text",
        "tool",
        "operation",
        "tokens_in",
        "tokens_out",
        "cost_text",
        "took",
        "status_label",
        "time",
    )
    list_filter = ("operation", "provider_slug", "model_slug", "target_kind", "estimated", "status")
    search_fields = ("model_slug", "model_identifier", "provider_slug", "target_slug")
    list_before_template = "admin/observability/usage_sum.html"
    empty_title = _("No usage yet")
    empty_text = _("Every call of a model is counted here: tokens, time and, where prices are known, cost.")
    empty_link = ("admin:rag_ragtool_try", _("Ask a RAG tool"))

    def page_extra(self, request: HttpRequest, obj: UsageRecord) -> dict[str, Any]:
        return {"cost": money(obj.cost, obj.currency)}

    totals: ClassVar[dict[str, Any]] = {"tokens_in": Sum("input_tokens"), "tokens_out": Sum("output_tokens")}

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [path("report/", view(self.report), name="observability_usagerecord_report"), *super().get_urls()]

    def report(self, request: HttpRequest) -> HttpResponseBase:
        """The usage page; with `csv=groups` or `csv=steps` its rows as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return self._report(request, period_asked(request))
        except InvalidInput as refusal:
            self.message_user(request, str(refusal), "error")
            kept = Period(*_default_bounds(), zone_of("UTC"))
            return self._report(request, kept, plain=True)

    def _report(self, request: HttpRequest, period: Period, *, plain: bool = False) -> HttpResponseBase:
        asked = {} if plain else {name: request.GET[name] for name in request.GET}
        query = UsageQuery(
            self.principal(request).workspace_id,
            period,
            filters=filters_of(asked),
        )
        group_by = choice_of(GroupBy, "by", asked.get("by", "")) or GroupBy.MODEL
        interval = choice_of(Interval, "step", asked.get("step", "")) or period.default_interval()
        if "csv" in asked:
            return _file(query, group_by, interval, by_time=asked["csv"] == "steps")
        context = self.page_context(
            request,
            _("Usage"),
            page=usage_page(query, group_by, interval),
            bounds=[_bound(one, period) for one in (period.start, period.end)],
            form=PeriodForm(_initial(asked, group_by)),
            by=group_by,
            columns=COLUMNS,
            chosen=_filter_links(query, asked),
            filters=query.filters,
            address=urlencode({name: value for name, value in asked.items() if name != "csv"}),
            ever=self._ever(query),
        )
        return TemplateResponse(request, "admin/observability/usage_report.html", context)

    def _ever(self, query: UsageQuery) -> bool:
        models = (UsageRollup, UsageRecord)
        return any(model.objects.for_workspace(query.workspace_id).exists() for model in models)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        response = super().changelist_view(request, extra_context)
        changelist = getattr(response, "context_data", {}).get("cl")
        if changelist is not None:
            found = changelist.queryset.order_by().aggregate(**self.totals)
            response.context_data["usage_totals"] = {name: number(value or 0) for name, value in found.items()}
            costs = costs_of(changelist.queryset)
            response.context_data["usage_costs"] = " + ".join(money_about(total, currency) for currency, total in costs)
        return response

    @display(description=_("Model"), ordering="model_slug")
    def model_text(self, obj: UsageRecord) -> str:
        return f"{obj.provider_slug} / {obj.model_slug}"

    @display(description=_("Tool"), ordering="target_slug")
    def tool(self, obj: UsageRecord) -> str:
        return obj.target_slug or obj.target_kind or "—"

    @display(description=_("Input (tokens)"), ordering="input_tokens")
    def tokens_in(self, obj: UsageRecord) -> str:
        return number(obj.input_tokens) + (" ≈" if obj.estimated else "")

    @display(description=_("Output (tokens)"), ordering="output_tokens")
    def tokens_out(self, obj: UsageRecord) -> str:
        return number(obj.output_tokens) + (" ≈" if obj.estimated else "")

    @display(description=_("Cost"), ordering="cost")
    def cost_text(self, obj: UsageRecord) -> str:
        return money_about(obj.cost, obj.currency)

    @display(description=_("Took"), ordering="duration_ms")
    def took(self, obj: UsageRecord) -> str:
        return duration(obj.duration_ms)

    @display(description=_("Status"), ordering="status", label=SPAN_COLOURS)
    def status_label(self, obj: UsageRecord) -> tuple[str, Any]:
        return obj.status, SpanStatus(obj.status).label

    @display(description=_("Time"), ordering="id")
    def time(self, obj: UsageRecord) -> str:
        return moment(obj.created_at)


def _bound(when: datetime, period: Period) -> str:
    return date_format(when.astimezone(period.zone), "j M Y, H:i T")


def _default_bounds() -> tuple[Any, Any]:
    period = preset_period(Preset.WEEK, zone_of("UTC"), timezone.now())
    return period.start, period.end


def _initial(asked: dict[str, str], group_by: GroupBy) -> dict[str, str]:
    return {"period": Preset.WEEK.value, "zone": "UTC", "by": group_by.value, **asked}


def _filter_links(query: UsageQuery, asked: dict[str, str]) -> list[tuple[Any, str, str]]:
    """Each filter with its value and the address of the page without it."""
    return [
        (group.label, value, urlencode({name: one for name, one in asked.items() if name != group.value}))
        for group, value in shown_filters(query).items()
    ]


def _file(query: UsageQuery, group_by: GroupBy, interval: Interval, *, by_time: bool) -> HttpResponseBase:
    level = Level.BOTH if by_time else Level.GROUP
    asked = UsageQuery(query.workspace_id, query.period, interval if by_time else None, group_by, filters=query.filters)
    rows = usage_report(asked, [level])[level]
    names = labels(group_by, {row.group or "" for row in rows}, query.workspace_id)
    return csv_response(csv_rows(rows, group_by, names))
