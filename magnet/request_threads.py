"""Threads for what requests do synchronously: one for each request, and kept for the next.

Without this Django starts a thread for each request and another one that waits for its end, and makes its side of the
database connection anew. A thread is given back when its request is over, without a connection: `request_finished` has
closed it, or it is closed here.
"""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from asgiref.sync import ThreadSensitiveContext
from django.db import connections

KEPT = 32

_free: list[ThreadPoolExecutor] = []


@asynccontextmanager
async def request_thread() -> AsyncIterator[None]:
    """What is taken off the loop in this block runs in one thread, which nobody else uses meanwhile."""
    thread = _free.pop() if _free else ThreadPoolExecutor(max_workers=1, thread_name_prefix="request")
    try:
        async with ThreadSensitiveContext(executor=thread):
            yield
    except BaseException:
        thread.submit(connections.close_all)  # of a request that broke off, nobody has told its end
        raise
    finally:
        if len(_free) < KEPT:
            _free.append(thread)
        else:
            thread.shutdown(wait=False)
