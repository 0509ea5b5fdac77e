"""Named places where tests make the platform fail.

`fault("name")` does nothing unless the environment variable MAGNET_FAULT names it, which only the test
profile honours. The value is `name[:nth][=action]`: `exit` ends the process at once (the default), `raise`
raises FaultInjected, `hang` sleeps for an hour. `nth` counts calls from 1.
"""

import os
import time
from collections import Counter

from django.conf import settings

POINTS = frozenset(
    {
        "document.saved_before_enqueue",
        "job.leased",
        "ingest.parsed",
        "ingest.batch_embedded",
        "ingest.before_swap",
        "ingest.after_swap",
        "ingest.before_done",
        "run.created",
        "run.mid_stream",
        "run.before_close",
        "sweep.requeued",
    }
)

_calls: Counter[str] = Counter()


class FaultInjected(Exception):
    """Raised by a fault point whose action is `raise`."""


def fault(name: str) -> None:
    """A fault point. `name` must be listed in POINTS, so that the test that walks them misses none."""
    if name not in POINTS:
        raise ValueError(f"{name!r} is not a listed fault point.")
    wanted = os.environ.get("MAGNET_FAULT", "")
    if not wanted or not settings.FAULTS_ENABLED:
        return
    target, _, action = wanted.partition("=")
    target, _, nth = target.partition(":")
    if target != name:
        return
    _calls[name] += 1
    if _calls[name] == int(nth or 1):
        _act(action or "exit", name)


def _act(action: str, name: str) -> None:
    if action == "raise":
        raise FaultInjected(name)
    if action == "hang":
        time.sleep(3600)
        return
    os._exit(86)
