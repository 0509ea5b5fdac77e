"""One embedded PostgreSQL and Valkey for the test sessions of this clone, a database for each session.

It all happens when this file is imported, and not in a hook or in pytest.ini: pytest-django and the conftest files of
the apps read the settings and the models before the first hook runs.
"""

import atexit
import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

import django
import pytest

from magnet import environment as env
from magnet.embedded.platform import servers_of
from magnet.embedded.valkey import EmbeddedValkey

SLOTS = 60  # Valkey has 64 databases
NOT_FROM_OUTSIDE = (
    "DATA_DIR",
    "DATABASE_URL",
    "REDIS_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OUTBOUND_ALLOW",
    "OLLAMA_HOST",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "PUBLIC_URL",
)

_held: list[IO[str]] = []


def _take_slot(folder: Path) -> int:
    """A number that no other running session has; the lock goes with the process."""
    for slot in range(1, SLOTS):
        lock = (folder / f"slot-{slot}").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _held.append(lock)
        return slot
    raise pytest.UsageError(f"{SLOTS} test sessions run already in {folder}.")


def _start_platform() -> None:
    os.environ["MAGNET_ENV"] = "test"
    os.environ["DJANGO_SETTINGS_MODULE"] = "magnet.settings"
    for name in NOT_FROM_OUTSIDE:
        os.environ.pop(name, None)
    environment = env.load()
    servers = servers_of(environment)
    slot = _take_slot(env.data_dir(environment))
    os.environ["MAGNET_TEST_SLOT"] = str(slot)
    for server in servers:
        server.acquire()
        atexit.register(server.release)
        if isinstance(server, EmbeddedValkey):
            server.database = slot
            os.environ["REDIS_URL"] = server.url
    django.setup()
    # Processes of pytest-xdist inherit the environment: with this name in it they would read the settings of the slot
    # of their parent before this file gives them their own.
    del os.environ["DJANGO_SETTINGS_MODULE"]
    _flush_partitioned_tables_too()


def _flush_partitioned_tables_too() -> None:
    """Transactional tests end by emptying the tables of models; partitioned ones, without a model, refer to them.

    The partitions of indexes, which are rows too, go with them.
    """
    from django.db.backends.postgresql.operations import DatabaseOperations

    flush = DatabaseOperations.sql_flush

    def cascading(self, style, tables, *, reset_sequences=False, allow_cascade=False):  # noqa: ARG001
        emptied = flush(self, style, tables, reset_sequences=reset_sequences, allow_cascade=True)
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
            return [*emptied, *(f'DROP TABLE "{name}"' for (name,) in cursor.fetchall())]

    DatabaseOperations.sql_flush = cascading


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test-all` runs everything and demands Chromium; else exhaustive tests wait for it, browser tests run where
    Chromium is installed."""
    has_browser = shutil.which("chromium") is not None
    if os.environ.get("MAGNET_ALL_TESTS"):
        if not has_browser:
            raise pytest.UsageError("The browser tests need Chromium (Debian, Ubuntu: apt install chromium).")
        return
    left_out = {"exhaustive"} if has_browser else {"exhaustive", "browser"}
    left = [item for item in items if any(item.get_closest_marker(name) for name in left_out)]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for a process, a vendor or a deadline."""
    return (os.cpu_count() or 1) + 1


pytest_plugins = ["magnet.tests.plugin"]
_start_platform()
