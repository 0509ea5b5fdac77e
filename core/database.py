"""Database work from coroutines that may outlive the request that started them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

T = TypeVar("T")

# Threads of our own: those of a request end with it, and a run goes on.
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="database")


async def in_request(work: Callable[..., T], *args: Any) -> T:
    """Run what a request does before it streams, or waits, in the request's thread, which gives its connection back.

    It would be held to the end of the answer otherwise.
    """

    def call() -> T:
        answer = work(*args)
        connections.close_all()
        return answer

    return await sync_to_async(call)()


async def in_database(work: Callable[..., T], *args: Any) -> T:
    """Run synchronous database work in a thread that gives its connection back at once."""

    def call() -> T:
        try:
            return work(*args)
        finally:
            connections.close_all()

    return await asyncio.get_running_loop().run_in_executor(_threads, call)
