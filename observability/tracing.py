"""Traces in the making: spans and usage are collected in memory and stored together when the work is done."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.constants import OnConflict

from core.access import Principal
from core.compiled import execute
from core.compiled_rows import Insert
from core.ids import uuid7
from core.metrics import MODEL_CALLS, TOKENS
from core.registry import Registry
from observability.budgets.applicable import budgets_of
from observability.choices import ObservabilityLevel, Operation, SpanStatus
from observability.models import Run, Span, Trace, UsageRecord
from observability.otlp.traceparent import RemoteParent, of_request
from observability.plain import plain, plain_text
from observability.scrubbing import scrubbed


@dataclass(frozen=True)
class Cost:
    """What a call cost. amount: null where the model has no price, never zero instead. currency: ISO 4217."""

    amount: Decimal | None
    currency: str = "USD"


@dataclass(frozen=True)
class UsageEntry:
    """Tokens and time of one call of a model. model_identifier: the model that really replied.

    model_id: the row that was asked. created_at: when the call began; its price is the one of that moment. cost: null
    until the entry is priced. span_id: the span that tells of the call.
    """

    operation: Operation
    provider_type: str
    provider_slug: str
    model_slug: str
    model_identifier: str
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    duration_ms: float = 0
    status: SpanStatus = SpanStatus.OK
    id: uuid.UUID = field(default_factory=uuid7)
    model_id: uuid.UUID | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    span_id: uuid.UUID | None = None
    cost: Cost | None = None


STORED = tuple(name for name in UsageEntry.__dataclass_fields__ if name not in {"model_id", "span_id", "cost"})

Pricer = Callable[[uuid.UUID, Sequence[UsageEntry]], Sequence[Cost]]
PRICERS: Registry[Pricer] = Registry("pricer")
"""Who knows what calls of models cost, from a workspace and its entries: the app that owns the models registers."""


FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INSERT_TRACE = Insert(Trace, OnConflict.UPDATE, same=["id"], changed=["status", "duration_ms"])
INSERT_SPANS = Insert(Span)
INSERT_USAGE = Insert(UsageRecord, OnConflict.IGNORE)


@dataclass
class SpanRecord:
    """A span while it lasts. `set()` adds attributes; names follow OpenTelemetry's `gen_ai.*`."""

    name: str
    operation: Operation
    parent_id: uuid.UUID | None
    attributes: dict[str, Any]
    id: uuid.UUID = field(default_factory=uuid7)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration_ms: float = 0
    status: SpanStatus = SpanStatus.OK
    error: str = ""

    def set(self, **attributes: Any) -> None:
        self.attributes.update(attributes)

    def first_chunk(self) -> None:
        """Note the seconds until the first piece of a stream; later ones change nothing."""
        if FIRST_CHUNK not in self.attributes:
            self.attributes[FIRST_CHUNK] = round((datetime.now(UTC) - self.started_at).total_seconds(), 3)

    def failed_with(self, kind: str) -> None:
        """Name the kind of failure, one of few; the first name stays."""
        self.attributes.setdefault("error.type", kind)


@dataclass
class TraceRecorder:
    """The trace of one run or of one attempt at a job, until it is stored by `save()`.

    remote: the caller's place in its own trace. target: slug of the tool that runs, if any.
    capture: whether spans keep contents.
    usage_stored: how many entries of the usage are in the database already. budgets: those that the work counts to.
    unsettled: what could not be counted there while the database was away, and is with the books.
    """

    name: str
    kind: str
    workspace_id: uuid.UUID
    user_id: uuid.UUID | None = None
    key_id: uuid.UUID | None = None
    target: str = ""
    capture: ObservabilityLevel = ObservabilityLevel.METADATA
    id: uuid.UUID = field(default_factory=uuid7)
    remote: RemoteParent | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    spans: list[SpanRecord] = field(default_factory=list)
    usage: list[UsageEntry] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    usage_stored: int = 0
    budgets: tuple[uuid.UUID, ...] = ()
    unsettled: list[Callable[[], None]] = field(default_factory=list)

    @transaction.atomic(savepoint=False)
    def save(self, run: Run | None = None, *, failed: bool = False) -> Trace:
        """Store the trace with its spans and the usage that is not stored yet. The trace's time runs until now."""
        broken = any(span.status is SpanStatus.ERROR for span in self.spans if span.parent_id is None)
        self.price()
        spans = [self._span(span) for span in self.spans]
        trace = self._store(SpanStatus.ERROR if failed or broken else SpanStatus.OK, run, spans)
        for settle in self.unsettled:
            settle()
        transaction.on_commit(self.unsettled.clear)
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT and (self.remote is None or self.remote.sampled):
            transaction.on_commit(partial(self._export, trace, spans))
        return trace

    def _export(self, trace: Trace, spans: Sequence[Span]) -> None:
        """Queue the stored trace for the collector; imported here, as nobody needs it without one."""
        from observability.otlp.export import export

        export(trace, spans, self.remote)

    @transaction.atomic(savepoint=False)
    def save_usage(self, run: Run | None = None) -> None:
        """Store what was spent so far: a process that is killed loses the books of its last step only."""
        if len(self.usage) > self.usage_stored:
            self.price()
            self._store(SpanStatus.OK, run)

    def _store(self, status: SpanStatus, run: Run | None, spans: Sequence[Span] = ()) -> Trace:
        """Entries that stand there already came with a commit that was not acknowledged: nothing is billed twice."""
        known, trace = len(self.usage), self._trace(status)
        usage = [self._usage(entry, run) for entry in self.usage[self.usage_stored : known]]
        parts: list[tuple[Insert[Any], Sequence[Any]]]
        parts = [(INSERT_TRACE, [trace]), (INSERT_SPANS, spans), (INSERT_USAGE, usage)]
        execute(*(insert.filled(rows) for insert, rows in parts if rows))
        transaction.on_commit(lambda: setattr(self, "usage_stored", known))
        return trace

    def price(self) -> None:
        """Give each call its cost, once, and tell its span."""
        waiting = [place for place, entry in enumerate(self.usage) if entry.cost is None]
        spans = {span.id: span for span in self.spans}
        for _, pricer in PRICERS.items() if waiting else ():
            costs = pricer(self.workspace_id, [self.usage[place] for place in waiting])
            for place, cost in zip(waiting, costs, strict=True):
                entry = self.usage[place] = replace(self.usage[place], cost=cost)
                span = spans.get(entry.span_id) if entry.span_id else None
                if span is not None and cost.amount is not None:
                    span.set(**{"magnet.cost": str(cost.amount), "magnet.currency": cost.currency})

    def total(self) -> Cost:
        """What all calls so far cost together. Unknown as soon as one has no price, or another currency."""
        spent = [entry.cost or Cost(None) for entry in self.usage if entry.input_tokens or entry.output_tokens]
        amounts = [cost.amount for cost in spent if cost.amount is not None]
        # What costs nothing costs nothing in every currency.
        currencies = sorted({cost.currency for cost in spent if cost.amount})
        if len(amounts) < len(spent) or len(currencies) > 1 or not spent:
            return Cost(None, currencies[0] if len(currencies) == 1 else "USD")
        return Cost(sum(amounts, Decimal(0)), currencies[0] if currencies else spent[0].currency)

    def _trace(self, status: SpanStatus) -> Trace:
        elapsed = datetime.now(UTC) - self.started_at
        return Trace(
            id=self.id,
            workspace_id=self.workspace_id,
            name=plain_text(self.name)[:200],
            kind=self.kind,
            status=status,
            started_at=self.started_at,
            duration_ms=int(elapsed / timedelta(milliseconds=1)),
            attributes=self._about(),
            user_id=self.user_id,
        )

    def _about(self) -> dict[str, Any]:
        """What the trace belongs to: the tool, the caller's own trace."""
        target = {"magnet.target.kind": self.kind, "magnet.target.slug": self.target} if self.target else {}
        parent = (
            {"traceparent.trace_id": self.remote.trace_id, "traceparent.span_id": self.remote.span_id}
            if self.remote
            else {}
        )
        about: dict[str, Any] = plain({**self.attributes, **target, **parent})
        return about

    def _span(self, record: SpanRecord) -> Span:
        return Span(
            id=record.id,
            workspace_id=self.workspace_id,
            trace_id=self.id,
            parent_id=record.parent_id,
            name=plain_text(record.name)[:200],
            operation=record.operation,
            status=record.status,
            error=plain_text(record.error)[:300],
            started_at=record.started_at,
            duration_ms=record.duration_ms,
            attributes=plain(scrubbed(record.attributes)),
        )

    def _usage(self, entry: UsageEntry, run: Run | None) -> UsageRecord:
        return UsageRecord(
            workspace_id=self.workspace_id,
            trace_id=self.id,
            run=run,
            user_id=self.user_id,
            key_id=self.key_id,
            target_kind=self.kind[:50],
            target_slug=self.target[:100],
            cost=entry.cost.amount if entry.cost else None,
            currency=entry.cost.currency if entry.cost else "USD",
            **{name: getattr(entry, name) for name in STORED},
        )


_recorder: ContextVar[TraceRecorder | None] = ContextVar("recorder", default=None)
_parent: ContextVar[uuid.UUID | None] = ContextVar("parent_span", default=None)


def start_trace(
    name: str,
    kind: str,
    principal: Principal,
    *,
    target: str = "",
    target_id: uuid.UUID | None = None,
    capture: ObservabilityLevel = ObservabilityLevel.METADATA,
) -> TraceRecorder:
    """A recorder for work that this caller started. `recording()` makes it the current one.

    target: slug of the tool that runs; usage is added up by it. target_id: its id, by which budgets know it.
    """
    return TraceRecorder(
        name=name,
        kind=kind,
        workspace_id=principal.workspace_id,
        user_id=principal.user_id,
        key_id=principal.key_id,
        target=target,
        capture=capture,
        budgets=budgets_of(
            principal.workspace_id, key_id=principal.key_id, target=(kind, target_id) if target_id else None
        ),
        remote=of_request(),
    )


def level_of(variant: object) -> ObservabilityLevel:
    """How much a run of this variant keeps: its `observability_level`, or metadata where it has none."""
    return ObservabilityLevel(getattr(variant, "observability_level", ObservabilityLevel.METADATA))


def current_recorder() -> TraceRecorder | None:
    """The recorder of the work that goes on here."""
    return _recorder.get()


def level_now() -> ObservabilityLevel:
    """What the current trace keeps of contents; nothing outside of one."""
    recorder = _recorder.get()
    return ObservabilityLevel.NONE if recorder is None else recorder.capture


@contextmanager
def recording(recorder: TraceRecorder) -> Iterator[TraceRecorder]:
    """Within the block, spans and usage go to this recorder."""
    token = _recorder.set(recorder)
    parent = _parent.set(None)
    try:
        yield recorder
    finally:
        _parent.reset(parent)
        _recorder.reset(token)


@contextmanager
def span(name: str, operation: Operation, **attributes: Any) -> Iterator[SpanRecord]:
    """A step with its duration; an exception marks it as an error and goes on. Outside a trace it is not kept."""
    named = {} if operation is Operation.RUN else {"gen_ai.operation.name": operation.value}
    record = SpanRecord(name, operation, _parent.get(), {**named, **attributes})
    recorder = _recorder.get()
    if recorder is not None:
        recorder.spans.append(record)
    token = _parent.set(record.id)
    started = time.perf_counter()
    try:
        yield record
    except BaseException as error:
        record.status, record.error = SpanStatus.ERROR, type(error).__name__
        record.failed_with(record.error)
        raise
    finally:
        record.duration_ms = round((time.perf_counter() - started) * 1000, 3)
        _reset_parent(token)


def _reset_parent(token: Any) -> None:
    """An async generator may be closed from another context, in which there is nothing to reset."""
    try:
        _parent.reset(token)
    except ValueError:
        return


def store_usage() -> None:
    """Store what the current trace has spent so far, before its next step."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.save_usage()


def record_usage(entry: UsageEntry) -> None:
    """Add a model call to the current trace; outside of one it is not kept."""
    for direction, count in (("input", entry.input_tokens), ("output", entry.output_tokens)):
        TOKENS.labels(entry.operation, entry.model_slug, direction).inc(count)
    MODEL_CALLS.labels(entry.operation, entry.model_slug, entry.status).inc()
    recorder = _recorder.get()
    if recorder is not None:
        recorder.usage.append(entry)
