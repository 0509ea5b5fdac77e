"""Our traces as messages of OTLP 1.x (opentelemetry-proto). Imported only when traces are exported.

A trace of ours becomes a root span with its spans below. Ids are those of our rows: 16 bytes of the trace's UUID, the
last 8 of a span's. The caller's trace takes their place where it sent a traceparent.
"""

import json
import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from observability.otlp.traceparent import RemoteParent

CLIENT_OPERATIONS = frozenset({"chat", "embeddings", "rerank"})
MAX_INT = 2**63


@dataclass(frozen=True)
class FinishedSpan:
    """A span that is over. duration_ms: milliseconds."""

    id: uuid.UUID
    parent_id: uuid.UUID | None
    name: str
    operation: str
    started_at: datetime
    duration_ms: float
    error: str
    failed: bool
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class FinishedTrace:
    """A trace that is stored. attributes: of its root span."""

    id: uuid.UUID
    name: str
    started_at: datetime
    duration_ms: float
    failed: bool
    attributes: Mapping[str, Any]
    spans: Sequence[FinishedSpan]
    remote: RemoteParent | None = None


def export_request(traces: Iterable[FinishedTrace], environment: str) -> bytes:
    """The body of a POST to /v1/traces."""
    spans = [span for trace in traces for span in _spans(trace)]
    scope = ScopeSpans(scope=InstrumentationScope(name="magnet"), spans=spans)
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=_resource(environment), scope_spans=[scope])]
    )
    body: bytes = request.SerializeToString()
    return body


def _resource(environment: str) -> Resource:
    named = {
        "service.name": "magnet",
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "deployment.environment": environment,
        "deployment.environment.name": environment,
    }
    return Resource(attributes=_attributes(named))


def _spans(trace: FinishedTrace) -> Iterable[Span]:
    remote = trace.remote
    trace_id = bytes.fromhex(remote.trace_id) if remote else trace.id.bytes
    root_id = trace.id.bytes[8:]
    began = _nanoseconds(trace.started_at)
    yield Span(
        trace_id=trace_id,
        span_id=root_id,
        parent_span_id=bytes.fromhex(remote.span_id) if remote else b"",
        name=trace.name,
        kind=Span.SpanKind.SPAN_KIND_SERVER if remote else Span.SpanKind.SPAN_KIND_INTERNAL,
        start_time_unix_nano=began,
        end_time_unix_nano=began + int(trace.duration_ms * 1e6),
        attributes=_attributes(trace.attributes),
        status=_status(trace.failed, ""),
    )
    known = {span.id for span in trace.spans}
    for span in trace.spans:
        began = _nanoseconds(span.started_at)
        kind = span.operation in CLIENT_OPERATIONS
        yield Span(
            trace_id=trace_id,
            span_id=span.id.bytes[8:],
            parent_span_id=span.parent_id.bytes[8:] if span.parent_id in known and span.parent_id else root_id,
            name=span.name,
            kind=Span.SpanKind.SPAN_KIND_CLIENT if kind else Span.SpanKind.SPAN_KIND_INTERNAL,
            start_time_unix_nano=began,
            end_time_unix_nano=began + int(span.duration_ms * 1e6),
            attributes=_attributes(span.attributes),
            status=_status(span.failed, span.error),
        )


def _status(failed: bool, message: str) -> Status:
    return Status(code=Status.StatusCode.STATUS_CODE_ERROR, message=message) if failed else Status()


def _nanoseconds(moment: datetime) -> int:
    """Exact: a float of seconds has no room for them."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in values.items() if value is not None]


def _value(value: Any) -> AnyValue:
    """Plain values and lists of them as they are; what is nested as JSON, as the conventions allow on spans."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -MAX_INT <= value < MAX_INT:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list) and all(isinstance(one, str | bool | int | float) for one in value):
        return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value]))
    return AnyValue(string_value=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
