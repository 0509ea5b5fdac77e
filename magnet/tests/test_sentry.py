"""Errors reach a Sentry over real HTTP, with ids and without what people wrote."""

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

PROGRAM = """
import django, logging
django.setup()
import sentry_sdk
from django.test import RequestFactory
from core.context import add_log_fields
add_log_fields(job_id="job-7")
question = "sentinel-local"
try:
    raise RuntimeError("it broke\\nDETAIL: Failing row contains (sentinel-row).")
except RuntimeError:
    logging.getLogger("x").exception("job.attempt_failed", extra={"answer": "sentinel-extra"})
print("on" if sentry_sdk.get_client().is_active() else "off")
sentry_sdk.flush(10)
"""


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[str]]]:
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(
                (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode()
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://key@127.0.0.1:{server.server_port}/1", received
    server.shutdown()
    server.server_close()


def run(dsn: str) -> str:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "magnet.settings", "SENTRY_DSN": dsn}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_an_error_is_told_with_its_ids_and_without_values(sentry):
    dsn, received = sentry

    assert run(dsn) == "on"

    told = "\n".join(received)
    assert "RuntimeError" in told
    assert "it broke" in told
    assert '"job_id":"job-7"' in told
    assert "sentinel" not in told


def test_without_a_dsn_nothing_is_set_up(sentry):
    assert run("") == "off"
    assert sentry[1] == []
