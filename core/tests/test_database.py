"""Database work from coroutines."""

import asyncio

import pytest

from core import database
from core.database import few_at_once
from core.exceptions import ServiceUnavailable


async def test_a_few_begin_at_once_and_the_others_get_their_turn():
    inside, most = 0, 0

    async def begin() -> None:
        nonlocal inside, most
        async with few_at_once():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(begin() for _ in range(40)))

    assert (inside, most) == (0, database.AT_ONCE)


async def test_who_does_not_get_a_turn_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr(database, "WAIT_SECONDS", 0.02)
    go = asyncio.Event()

    async def hold() -> None:
        async with few_at_once():
            await go.wait()

    holding = [asyncio.create_task(hold()) for _ in range(database.AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(ServiceUnavailable) as refused:
        async with few_at_once():
            pass
    go.set()
    await asyncio.gather(*holding)

    assert refused.value.retry_after == 1
    async with few_at_once():
        pass
