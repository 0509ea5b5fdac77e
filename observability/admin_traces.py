"""Monitor: traces as trees over time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from core.admin import PageModelAdmin
from core.admin_display import duration, moment, money, number
from observability.choices import SpanStatus
from observability.contents import without_contents
from observability.models import Job, Span, Trace
from observability.selectors import may_read_content

SPAN_COLOURS = {SpanStatus.OK: "success", SpanStatus.ERROR: "danger"}
# Widest a trace's drawing gets, in its own units; the browser scales it.
CHART_WIDTH = 1000.0
LEAST_BAR = 4.0
MAX_DEPTH = 12  # deeper ones are drawn as deep as this
MAX_SPANS = 2000  # more are in the API
TICKS = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class SpanBar:
    """A span as the waterfall draws it: x and width of its bar in CHART_WIDTH units, depth in steps from 0."""

    span: Span
    depth: int
    x: float
    width: float
    took: str
    attributes: Mapping[str, Any]

    @property
    def shown_depth(self) -> int:
        return min(self.depth, MAX_DEPTH)

    @property
    def marks(self) -> list[tuple[str, Any]]:
        """What is out of the ordinary, each with its colour."""
        known = (
            ("magnet.cached", "mg-good", _("cached")),
            ("magnet.fallback_of", "mg-warn", _("fallback")),
            ("magnet.failed_attempts", "mg-warn", _("tried again")),
            ("magnet.degraded", "mg-warn", _("degraded")),
        )
        return [(colour, label) for name, colour, label in known if self.attributes.get(name)]

    @property
    def figures(self) -> str:
        """Tokens and cost of the call, where it is one."""
        told = self.attributes
        parts = []
        if "gen_ai.usage.input_tokens" in told:
            tokens = (number(told["gen_ai.usage.input_tokens"]), number(told.get("gen_ai.usage.output_tokens", 0)))
            parts.append(_("%(i)s → %(o)s tokens") % {"i": tokens[0], "o": tokens[1]})
        if "magnet.cost" in told:
            parts.append(f"{told['magnet.cost']} {told.get('magnet.currency', '')}".strip())
        return " · ".join(str(part) for part in parts)

    @property
    def text(self) -> str:
        """All attributes as lines; one element for a browser, however many there are."""
        return "\n".join(f"{name}: {_shown(value)}" for name, value in sorted(self.attributes.items()))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


@admin.register(Trace)
class TraceAdmin(PageModelAdmin):
    """The steps of a run as a tree over time."""

    page_template = "admin/observability/trace.html"
    list_display = ("name", "kind", "status_label", "took", "person", "started")
    list_filter = ("status", "kind")
    list_select_related = ("user",)
    search_fields = ("name",)
    empty_title = _("No traces yet")
    empty_text = _("Each question and each ingested document leaves a trace of its steps.")
    empty_link = ("admin:rag_ragtool_try", _("Ask a RAG tool"))

    def page_extra(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        spans = list(obj.spans.all()[: MAX_SPANS + 1])
        may_read = may_read_content(obj, self.principal(request))
        usage = [(one, money(one.cost, one.currency)) for one in obj.usage.all()]
        whole = whole_of(obj, spans)
        return {
            "bars": waterfall(obj, spans[:MAX_SPANS], may_read=may_read),
            "more": len(spans) > MAX_SPANS,
            "errors": sum(one.status == SpanStatus.ERROR for one in spans),
            "ticks": [duration(whole * share) for share in TICKS],
            "took_text": duration(obj.duration_ms),
            "runs": obj.runs.defer("answer"),
            "job": self._job(request, obj),
            "usage": usage,
        }

    def _job(self, request: HttpRequest, obj: Any) -> Job | None:
        """The job whose attempt this trace is of, if it is still there."""
        job_id = obj.attributes.get("magnet.job.id")
        return self.rows_of(Job, request).filter(pk=job_id).first() if job_id else None

    @display(description=_("Status"), ordering="status", label=SPAN_COLOURS)
    def status_label(self, obj: Trace) -> tuple[str, Any]:
        return obj.status, SpanStatus(obj.status).label

    @display(description=_("Took"), ordering="duration_ms")
    def took(self, obj: Trace) -> str:
        return duration(obj.duration_ms)

    @display(description=_("Who"))
    def person(self, obj: Trace) -> str:
        return str(obj.user) if obj.user else "—"

    @display(description=_("Started"), ordering="id")
    def started(self, obj: Trace) -> str:
        return moment(obj.started_at)


def whole_of(trace: Trace, spans: list[Span]) -> float:
    """Milliseconds from the trace's start until all of it is over."""
    return max([trace.duration_ms, *(_offset(trace, span) + span.duration_ms for span in spans)], default=1) or 1


def waterfall(trace: Trace, spans: list[Span], *, may_read: bool = True) -> list[SpanBar]:
    """The spans of a trace in tree order, each with its place on the time axis; nested as deep as may be."""
    children: dict[Any, list[Span]] = {}
    known = {span.pk for span in spans}
    for span in sorted(spans, key=lambda one: (one.started_at, one.pk), reverse=True):
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    whole = whole_of(trace, spans)
    waiting = [(span, 0) for span in children.get(None, [])]
    bars = []
    while waiting:
        span, depth = waiting.pop()
        bars.append(_bar(trace, span, depth, whole, may_read=may_read))
        waiting += [(child, depth + 1) for child in children.get(span.pk, [])]
    return bars


def _bar(trace: Trace, span: Span, depth: int, whole: float, *, may_read: bool) -> SpanBar:
    x = min(max(0.0, _offset(trace, span) / whole * CHART_WIDTH), CHART_WIDTH - LEAST_BAR)
    width = max(LEAST_BAR, span.duration_ms / whole * CHART_WIDTH)
    attributes = span.attributes if may_read else without_contents(span.attributes)
    return SpanBar(span, depth, round(x, 1), round(width, 1), duration(span.duration_ms), attributes)


def _offset(trace: Trace, span: Span) -> float:
    return (span.started_at - trace.started_at).total_seconds() * 1000
