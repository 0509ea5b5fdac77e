"""Hands stored traces to a collector: from a bounded queue, in batches, in a thread of its own.

Nobody waits for it, and nothing depends on it: a trace that finds the queue full, or a collector that stays away, is
dropped and counted. What happened stands in the database anyway.
"""

import atexit
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from core.doctor import Finding, Level
from core.exceptions import MagnetError
from core.loop import run_in_loop
from core.outbound import NoAnswer, async_client
from core.outbound_allow import OutboundUse

logger = logging.getLogger(__name__)

QUEUE_TRACES = 2000
BATCH_TRACES = 100
BATCH_SECONDS = 2.0
TRIES = 4
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
FLUSH_SECONDS = 5.0
# What OTLP/HTTP names as passing: 429, 502, 503, 504.
RETRYABLE = frozenset({429, 502, 503, 504})


def endpoint() -> str:
    """Where traces are posted to; the setting is the base, as OpenTelemetry's specification has it."""
    base: str = settings.OTEL_EXPORTER_OTLP_ENDPOINT
    return f"{base.rstrip('/')}/v1/traces"


@dataclass
class Exporter:
    """The queue of one process, and its thread. dropped: traces that no collector got."""

    waiting: "queue.Queue[Any]" = field(default_factory=lambda: queue.Queue(QUEUE_TRACES))
    sent: int = 0
    dropped: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def put(self, trace: Any) -> None:
        """Queue a FinishedTrace, or drop it. Never waits."""
        try:
            self.waiting.put_nowait(trace)
        except queue.Full:
            self._drop(1, "the queue is full")

    def start(self) -> None:
        self.thread = threading.Thread(target=self._work, name="otlp", daemon=True)
        self.thread.start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send what waits, and end; gives up after `seconds`."""
        self.stopping.set()
        if self.thread is not None:
            self.thread.join(seconds)

    def _work(self) -> None:
        while not (self.stopping.is_set() and self.waiting.empty()):
            batch = self._batch()
            if batch:
                self._send(batch)

    def _batch(self) -> list[Any]:
        """What comes within BATCH_SECONDS, at most BATCH_TRACES."""
        batch: list[Any] = []
        until = time.monotonic() + BATCH_SECONDS
        while len(batch) < BATCH_TRACES and not (self.stopping.is_set() and self.waiting.empty()):
            with contextlib.suppress(queue.Empty):
                batch.append(self.waiting.get(timeout=min(0.2, max(0.01, until - time.monotonic()))))
            if time.monotonic() >= until:
                break
        return batch

    def _send(self, batch: list[Any]) -> None:
        from observability.otlp.encoding import export_request

        try:
            body = export_request(batch, settings.MAGNET_ENV)
        except (TypeError, ValueError) as error:
            self._drop(len(batch), f"{type(error).__name__} in encoding")
            return
        for attempt in range(TRIES):
            outcome = _post(body)
            if outcome.ok:
                self.sent += len(batch)
                return
            pause = min(outcome.wait or FIRST_PAUSE_SECONDS * 2**attempt, LONGEST_PAUSE_SECONDS)
            if not outcome.passing or attempt == TRIES - 1 or self.stopping.wait(pause):
                self._drop(len(batch), outcome.reason)
                return

    def _drop(self, count: int, reason: str) -> None:
        if self.dropped // 1000 != (self.dropped + count) // 1000 or not self.dropped:
            logger.warning("otlp.dropped", extra={"traces": self.dropped + count, "reason": reason})
        self.dropped += count


@dataclass(frozen=True)
class Outcome:
    """How a POST ended. passing: another try may help, after `wait` seconds if the collector named them."""

    ok: bool
    passing: bool = False
    reason: str = ""
    wait: float = 0


def _post(body: bytes) -> Outcome:
    try:
        answer = run_in_loop(_request(body))
    except (NoAnswer, MagnetError, OSError) as error:
        return Outcome(ok=False, passing=not isinstance(error, MagnetError), reason=type(error).__name__)
    if answer.status_code < 300:
        return Outcome(ok=True)
    after = answer.headers.get("retry-after", "")
    wait = float(after) if after.isascii() and after.isdecimal() else 0.0
    return Outcome(ok=False, passing=answer.status_code in RETRYABLE, reason=f"HTTP {answer.status_code}", wait=wait)


async def _request(body: bytes) -> Any:
    headers = {"content-type": "application/x-protobuf", **settings.OTEL_EXPORTER_OTLP_HEADERS}
    async with async_client(OutboundUse.TELEMETRY) as client:
        return await client.post(endpoint(), content=body, headers=headers)


_lock = threading.Lock()
_exporters: dict[int, Exporter] = {}


def exporter() -> Exporter:
    """The exporter of this process; a worker that was forked makes its own."""
    pid = os.getpid()
    with _lock:
        if pid not in _exporters:
            _exporters.clear()
            made = _exporters[pid] = Exporter()
            made.start()
            atexit.register(made.flush)
        return _exporters[pid]


def findings() -> Iterator[Finding]:
    """What `manage.py doctor` says of the export: off, or whether the collector takes an empty message."""
    if not settings.OTEL_EXPORTER_OTLP_ENDPOINT:
        yield Finding("OTLP", Level.OK, "off: OTEL_EXPORTER_OTLP_ENDPOINT is not set")
        return
    outcome = _post(b"")
    if outcome.ok:
        yield Finding("OTLP", Level.OK, f"traces go to {endpoint()}")
    else:
        remedy = "Check OTEL_EXPORTER_OTLP_ENDPOINT (OTLP over HTTP, port 4318 as a rule) and its headers."
        yield Finding("OTLP", Level.WARNING, f"{endpoint()} does not take traces: {outcome.reason}", remedy)
