"""Database work from coroutines, which may outlive the request that started them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.db import connections

from core.exceptions import ServiceUnavailable

T = TypeVar("T")

AT_ONCE = 8
WAIT_SECONDS = 30.0

# Threads of our own: those of a request end with it, and a run goes on.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="database")

_beginning: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = WeakKeyDictionary()


@asynccontextmanager
async def few_at_once() -> AsyncIterator[None]:
    """Let AT_ONCE requests of this process begin together, which is when they hold a database connection.

    Many that begin at the same time would each take one, and hold it while the others have the processor.
    Raises ServiceUnavailable for who does not get their turn in WAIT_SECONDS.
    """
    places = _beginning.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise ServiceUnavailable("Too many requests begin at the same time.", retry_after=1) from None
    try:
        yield
    finally:
        places.release()


async def in_database(work: Callable[..., T], *args: Any) -> T:
    """Run synchronous database work in a thread that gives its connection back at once."""

    def call() -> T:
        try:
            return work(*args)
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(_threads, call)
