"""When a failed call of a model is tried again, and when it is given up."""

import asyncio
import random
from collections.abc import Awaitable
from typing import TypeVar

from plugins.contracts import ProviderFailure

RETRYABLE = frozenset({"rate_limited", "overloaded", "timeout", "connection"})
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
# With a fallback at hand a failing model is not waited for as long.
HURRIED_ATTEMPTS = 2
HURRIED_PAUSE_SECONDS = 5.0

T = TypeVar("T")


class Deadline:
    """The time that a call may take in all its attempts. Made on a running event loop. seconds: from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = self._now() + seconds

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def left(self) -> float:
        return self._at - self._now()

    async def within(self, step: Awaitable[T]) -> T:
        """Await one step. Raises ProviderFailure(timeout) when the time is over."""
        try:
            async with asyncio.timeout_at(self._at):
                return await step
        except TimeoutError:
            raise ProviderFailure("timeout", f"The model took longer than {self.seconds:g} s in all.") from None


async def pause(failure: ProviderFailure, attempt: int, deadline: Deadline, *, hurried: bool = False) -> None:
    """Wait before the next attempt: what the vendor asks for, else full jitter (Brooker, 2015).

    attempt: how many there were. hurried: another model stands by. Raises the failure instead when another attempt
    makes no sense or has no time.
    """
    most, longest = (HURRIED_ATTEMPTS, HURRIED_PAUSE_SECONDS) if hurried else (ATTEMPTS, LONGEST_PAUSE_SECONDS)
    wait = _jitter(attempt) if failure.retry_after is None else failure.retry_after
    if failure.kind not in RETRYABLE or attempt >= most or wait >= min(deadline.left, longest):
        raise failure
    await asyncio.sleep(wait)


def _jitter(attempt: int) -> float:
    return random.uniform(0, FIRST_PAUSE_SECONDS * 2**attempt)  # noqa: S311  # spreads load, protects nothing
