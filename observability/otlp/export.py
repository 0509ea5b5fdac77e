"""From the rows of a stored trace to the queue of the exporter."""

from collections.abc import Sequence

from observability.choices import SpanStatus
from observability.models import Span, Trace
from observability.otlp.encoding import FinishedSpan, FinishedTrace
from observability.otlp.exporter import exporter
from observability.otlp.traceparent import RemoteParent


def export(trace: Trace, spans: Sequence[Span], remote: RemoteParent | None) -> None:
    """Queue a trace; never waits and never raises for a full queue."""
    about = {"magnet.workspace.id": str(trace.workspace_id), "magnet.kind": trace.kind, **trace.attributes}
    exporter().put(
        FinishedTrace(
            id=trace.pk,
            name=trace.name,
            started_at=trace.started_at,
            duration_ms=trace.duration_ms,
            failed=trace.status == SpanStatus.ERROR,
            attributes=about,
            spans=[_finished(span) for span in spans],
            remote=remote,
        )
    )


def _finished(span: Span) -> FinishedSpan:
    return FinishedSpan(
        id=span.pk,
        parent_id=span.parent_id,
        name=span.name,
        operation=span.operation,
        started_at=span.started_at,
        duration_ms=span.duration_ms,
        error=span.error,
        failed=span.status == SpanStatus.ERROR,
        attributes=span.attributes,
    )
