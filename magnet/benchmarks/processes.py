"""The processes of `benchmark stream`: a vendor, and a web process as the supervisor starts it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
from django.conf import settings
from django.db import connection

from core.exceptions import ServiceUnavailable
from magnet.embedded.server import free_port
from magnet.environment import load
from magnet.supervisor import Supervisor

START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True)
class Serving:
    """A process that listens on a port of loopback."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What it has used of the processors since it began."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def vendor() -> Iterator[Serving]:
    port = free_port()
    with _serving([sys.executable, "-m", "magnet.benchmarks.vendor", str(port)], port, {}) as started:
        yield started


@contextmanager
def web(vendor_port: int) -> Iterator[Serving]:
    """A web process on our database and broker that may call this vendor; a caller may run as often as it likes."""
    port = free_port()
    base = connection.settings_dict
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "WEB_WORKERS": "1",
            "DATABASE_URL": f"postgresql://{base['USER']}:{base['PASSWORD']}@{base['HOST']}:{base['PORT']}/{base['NAME']}",
            "REDIS_URL": settings.REDIS_URL,
            "SECRET_KEY": settings.SECRET_KEY,
            "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
            "OUTBOUND_ALLOW": f"provider=127.0.0.1:{vendor_port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "",
            "RATE_RUNS": "1000000",
        }
        part = Supervisor(load({**os.environ, **variables})).parts[0]
        # Its counts are none of the platform's that may run beside it.
        beside = {**part.environment, **variables, "PROMETHEUS_MULTIPROC_DIR": folder}
        with _serving(part.command, port, beside) as started:
            yield started


@contextmanager
def _serving(command: Sequence[str], port: int, variables: Mapping[str, str]) -> Iterator[Serving]:
    """Raises ServiceUnavailable when the process does not listen in time."""
    quiet = subprocess.DEVNULL
    environment = {**os.environ, **variables}
    process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=quiet, stderr=quiet)
    try:
        _wait(process, port)
        yield Serving(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise ServiceUnavailable("A process of the benchmark did not start.", hint="Run `manage.py doctor`.")
