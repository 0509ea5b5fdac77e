"""A worker process gives its memory back when its work is done.

One that has read documents keeps the embedding model and its arenas, some 250 MB, for as long as it lives. So a process
that has had no such work for a minute ends, and the pool forks a small one. Celery's own limits look only after a task,
which would load the model again for every document.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from celery.signals import task_postrun, task_prerun, worker_process_init

IDLE_SECONDS = 60.0
LOOK_SECONDS = 5.0
LARGE_BYTES = 180 * 2**20
EX_RECYCLE = 0x9B  # billiard's exit code of a process that asks to be replaced

# The tick comes here every few seconds and loads nothing.
LIGHT_QUEUES = frozenset({"default"})


@dataclass
class IdleRelease:
    """When a process may end: nothing runs, it is large, and its last real work is a minute ago."""

    clock: Callable[[], float] = time.monotonic
    busy: int = 0
    last_work: float = field(default=0.0)

    def begin(self, queue: str) -> None:
        self.busy += 1
        if queue not in LIGHT_QUEUES:
            self.last_work = self.clock()

    def end(self, queue: str) -> None:
        self.busy -= 1
        if queue not in LIGHT_QUEUES:
            self.last_work = self.clock()

    def is_due(self, size: int) -> bool:
        """size: resident bytes."""
        return self.busy == 0 and size > LARGE_BYTES and self.clock() - self.last_work > IDLE_SECONDS


_release = IdleRelease()


@worker_process_init.connect
def watch(**_: Any) -> None:
    _release.last_work = _release.clock()
    threading.Thread(target=_look, name="idle-release", daemon=True).start()


def _look() -> None:
    process = psutil.Process()
    while not _release.is_due(process.memory_info().rss):
        time.sleep(LOOK_SECONDS)
    # A message that arrives in this very moment goes back to the queue: acks are late, and lost workers reject.
    os._exit(EX_RECYCLE)


@task_prerun.connect
def _begin(task: Any = None, **_: Any) -> None:
    _release.begin(_queue(task))


@task_postrun.connect
def _end(task: Any = None, **_: Any) -> None:
    _release.end(_queue(task))


def _queue(task: Any) -> str:
    return str((getattr(task.request, "delivery_info", None) or {}).get("routing_key", ""))
