"""Streams end when their reader loses the right to them: credentials are asked again while events flow."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError

from core.api.problems import problem_of
from core.api.sse import Numbered
from core.database import in_database
from core.exceptions import MagnetError, ServiceUnavailable

CHECK_SECONDS = 15.0
UNKNOWN_SECONDS = 45.0
"""So long a stream goes on while the database, which knows who may read, does not answer."""


@dataclass(frozen=True)
class Ended:
    """The terminal event of a stream whose reader may not read on."""

    seq: int
    name: str
    data: dict[str, Any]


@dataclass
class Watch:
    """check: raises MagnetError when the reader may not read on. name, data: of the terminal event that says so."""

    check: Callable[[], Any]
    name: str
    data: dict[str, Any]
    known_at: float = 0.0

    async def refusal(self) -> MagnetError | None:
        try:
            await in_database(self.check)
        except MagnetError as refused:
            return refused
        except (OperationalError, InterfaceError):
            if time.monotonic() - self.known_at > UNKNOWN_SECONDS:
                return ServiceUnavailable("The database does not answer, so nobody knows whether you may read on.")
            return None
        self.known_at = time.monotonic()
        return None

    def ended(self, seq: int, refused: MagnetError) -> Ended:
        return Ended(seq, self.name, {**self.data, "seq": seq, "problem": problem_of(refused)})


async def watched(events: AsyncIterator[Numbered], watch: Watch) -> AsyncGenerator[Numbered]:
    """The events; each 15 s the reader's right is asked for again, and without it one terminal event ends them."""
    seq, due = 0, time.monotonic() + CHECK_SECONDS
    watch.known_at = time.monotonic()
    pending = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait({pending}, timeout=max(0.0, due - time.monotonic()))
            if time.monotonic() >= due:
                refused = await watch.refusal()
                if refused is not None:
                    yield watch.ended(seq + 1, refused)
                    return
                due = time.monotonic() + CHECK_SECONDS
            if pending.done():
                event = pending.result()
                if event is None:
                    return
                seq = event.seq
                yield event
                pending = asyncio.ensure_future(anext(events, None))
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
