"""What an async iterator gives, read by one task beside its reader, who may stop waiting without disturbing it.

To wait for each item in a task of its own costs more than most items take to make.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST = 64
"""So many items wait for the reader; then the iterator waits."""


class Arrivals(Generic[T]):
    """Use it on one event loop, with one reader, and close it."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._waiting: list[T] = []
        self._news: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._over = False
        self._error: BaseException | None = None
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for item in self._items:
                self._waiting.append(item)
                self._tell()
                if len(self._waiting) >= MOST:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001  # raised again where the items are read
            self._error = error
        finally:
            self._over = True
            self._tell()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def next(self, until: float) -> list[T] | None:
        """What has come, as soon as there is something; nothing when the loop's clock says `until`; None at the end.

        Raises what the iterator raised, behind its last item.
        """
        if not self._waiting and not self._over:
            await self._wait(until)
        if self._waiting:
            come, self._waiting = self._waiting, []
            self._room.set()
            return come
        if not self._over:
            return []
        if self._error is not None:
            raise self._error
        return None

    async def _wait(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        self._news = loop.create_future()
        timer = loop.call_at(until, self._tell)
        try:
            await self._news
        finally:
            timer.cancel()
            self._news = None

    async def close(self) -> None:
        """Stop reading, and close the iterator."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        close: Any = getattr(self._items, "aclose", None)
        if close is not None:
            await close()
