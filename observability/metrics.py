"""What Prometheus is told of rows: jobs that wait and run, and how old their leases are."""

import os
import time
from collections.abc import Iterator
from typing import Any

from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY

KEPT_SECONDS = 5.0  # several scrapers, and impatient ones, cost one look

# Open jobs are few and have a partial index of their own.
OPEN_JOBS = """
SELECT queue, status, count(*), coalesce(extract(epoch FROM now() - min(available_at)), 0),
       coalesce(extract(epoch FROM now() - min(heartbeat_at)), 0)
FROM observability_job WHERE status IN ('pending', 'running') GROUP BY queue, status
"""


class JobCollector:
    """Gauges of open jobs, read at most every KEPT_SECONDS."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._until = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("magnet_open_jobs", "Jobs that wait or run.", labels=["queue", "status"])
        waiting = GaugeMetricFamily(
            "magnet_oldest_waiting_job_seconds", "How long the oldest due job waits.", labels=["queue"]
        )
        lease = GaugeMetricFamily(
            "magnet_oldest_heartbeat_seconds", "Age of the oldest heartbeat of a running job.", labels=["queue"]
        )
        for queue, status, count, waited, silent in self._read():
            depth.add_metric([queue, status], count)
            if status == "pending":
                waiting.add_metric([queue], max(0.0, float(waited)))
            else:
                lease.add_metric([queue], max(0.0, float(silent)))
        yield from (depth, waiting, lease)

    def _read(self) -> list[tuple[Any, ...]]:
        if time.monotonic() >= self._until:
            with connection.cursor() as cursor:
                cursor.execute(OPEN_JOBS)
                self._rows = cursor.fetchall()
            self._until = time.monotonic() + KEPT_SECONDS
        return self._rows


_jobs = JobCollector()


def exposition() -> bytes:
    """All figures in Prometheus' text format, of all processes that share PROMETHEUS_MULTIPROC_DIR."""
    rows = CollectorRegistry()
    rows.register(_jobs)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(rows)
    processes = CollectorRegistry()
    MultiProcessCollector(processes)  # type: ignore[no-untyped-call]  # registers itself
    return generate_latest(processes) + generate_latest(rows)
