"""One event loop for the synchronous code of a process, so that connections are kept between calls."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run_in_loop(work: "Coroutine[Any, Any, T]") -> T:
    """Run a coroutine on the process's own loop and wait for it. Never call it from a coroutine."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    finally:
        # A worker's time limit strikes in the waiting thread: the call must not go on without it.
        future.cancel()


def start_in_loop(work: "Coroutine[Any, Any, Any]") -> None:
    """Run a coroutine on the process's own loop and do not wait: safe from anywhere, the loop itself included."""
    asyncio.run_coroutine_threadsafe(work, _loop())


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of this process; a worker that was forked makes its own."""
    pid = os.getpid()
    with _lock:
        if pid not in _loops:
            _loops.clear()
            loop = _loops[pid] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="outbound calls", daemon=True).start()
        return _loops[pid]
