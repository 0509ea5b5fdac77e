"""Named places where tests make the platform fail.

`fault("name")` does nothing but in the test profile, and there only when MAGNET_FAULT names it. The value is
`name[:nth][=action]`: `exit` ends the process at once (the default), `raise` raises FaultInjected, `hang` sleeps for an
hour. `nth` counts calls from 1.

MAGNET_FAULT_FILE names a file that holds such a value, for a platform that runs already. The process that acts removes
the file first, so that it strikes once, and not again in the process that takes its place.
"""

import os
import time
from collections import Counter
from pathlib import Path

from django.conf import settings

POINTS = frozenset(
    {
        # An upload, by the web process
        "upload.file_stored",
        "upload.row_saved",
        "queue.before_publish",
        "queue.published",
        "file.before_removal",
        "source.before_tables_dropped",
        # An ingestion, by a worker
        "job.leased",
        "ingest.parsed",
        "ingest.batch_embedded",
        "ingest.batch_staged",
        "ingest.before_swap",
        "ingest.in_swap",
        "ingest.after_swap",
        "ingest.before_done",
        "job.done",
        "index.built",
        "epoch.batch_weighed",
        # A run, by the web process
        "run.created",
        "run.flushed",
        "run.mid_stream",
        "run.before_close",
        "run.usage_stored",
        "run.closed",
        # Configuration and access, by the web process
        "variant.in_switch",
        "key.successor_issued",
        "answer.claimed",
        "answer.stored",
        # What comes back, by a worker
        "sweep.requeued",
        "sweep.run_closed",
        "schedule.claimed",
        "schedule.worked",
    }
)

_calls: Counter[tuple[str, int]] = Counter()


class FaultInjected(Exception):
    """Raised by a fault point whose action is `raise`."""


def fault(name: str) -> None:
    """A fault point. `name` must be listed in POINTS, so that the test that walks them misses none."""
    if name not in POINTS:
        raise ValueError(f"{name!r} is not a listed fault point.")
    if settings.FAULTS_ENABLED:
        _strike(name)


def _strike(name: str) -> None:
    wanted, armed, path = _wanted()
    target, _, action = wanted.partition("=")
    target, _, nth = target.partition(":")
    if target != name:
        return
    _calls[wanted, armed] += 1
    if _calls[wanted, armed] == int(nth or 1) and (path is None or _taken(path)):
        _act(action or "exit", name)


def _wanted() -> tuple[str, int, Path | None]:
    """What should fail, when that was said (for a count of its own), and the file that says it."""
    file = os.environ.get("MAGNET_FAULT_FILE", "")
    if not file:
        return os.environ.get("MAGNET_FAULT", ""), 0, None
    path = Path(file)
    try:
        return path.read_text().strip(), path.stat().st_mtime_ns, path
    except FileNotFoundError:
        return "", 0, path


def _taken(path: Path) -> bool:
    """Whether this process, and no other, may act."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _act(action: str, name: str) -> None:
    if action == "raise":
        raise FaultInjected(name)
    if action == "hang":
        time.sleep(3600)
        return
    os._exit(86)
