"""The same work by two threads at once, each with a database connection of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def twice_at_once(work: Callable[[], T]) -> list[T]:
    """What each of the two answers; raises what one of them raises."""

    def once(_: int) -> T:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(once, range(2), timeout=20))
