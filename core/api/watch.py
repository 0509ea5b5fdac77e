"""Streams end when their reader loses the right to them: credentials are asked again while events flow."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError

from core.api.problems import problem_of
from core.database import in_database
from core.exceptions import MagnetError, ServiceUnavailable

CHECK_SECONDS = 15.0
UNKNOWN_SECONDS = 45.0
"""So long a stream goes on while the database, which knows who may read, does not answer."""


class Numbered(Protocol):
    """An event with its place in the stream."""

    @property
    def seq(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Ended:
    """The terminal event of a stream whose reader may not read on."""

    seq: int
    name: str
    data: dict[str, Any]


@dataclass
class Watch:
    """check: raises MagnetError when the reader may not read on. name, data: of the terminal event that says so.

    due: when to ask, by the clock of the stream's loop.
    """

    check: Callable[[], Any]
    name: str
    data: dict[str, Any]
    known_at: float = 0.0
    due: float = 0.0

    def begin(self, now: float) -> None:
        """Let the next pause begin."""
        self.known_at = self.known_at or time.monotonic()
        self.due = now + CHECK_SECONDS

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

    async def late_refusal(self) -> MagnetError | None:
        """The same for who waited for a whole answer, where that took longer than a pause."""
        return await self.refusal() if time.monotonic() - self.known_at > CHECK_SECONDS else None

    def ended(self, seq: int, refused: MagnetError) -> Ended:
        return Ended(seq, self.name, {**self.data, "seq": seq, "problem": problem_of(refused)})
