"""What an async iterator gives, for a reader who may stop waiting."""

import asyncio

import pytest

from core.api import arrivals
from core.api.arrivals import Arrivals


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def counting(most: int, made: list[int]):
    for number in range(most):
        made.append(number)
        yield number


async def test_what_has_come_is_read_in_one_piece_and_then_the_end():
    arriving = Arrivals(counting(3, []))
    await asyncio.sleep(0.01)

    assert await arriving.next(soon()) == [0, 1, 2]
    assert await arriving.next(soon()) is None


async def test_waiting_ends_at_its_time_and_loses_nothing():
    go = asyncio.Event()

    async def late():
        await go.wait()
        yield "late"

    arriving = Arrivals(late())

    assert await arriving.next(soon(0.02)) == []
    go.set()
    assert await arriving.next(soon()) == ["late"]


async def test_a_reader_that_is_slow_makes_the_iterator_wait():
    made = list[int]()
    arriving = Arrivals(counting(1000, made))
    await asyncio.sleep(0.01)

    assert len(made) == arrivals.MOST
    read = list[int]()
    while (come := await arriving.next(soon())) is not None:
        read += come
    assert read == list(range(1000))


async def test_an_error_comes_behind_the_last_item():
    async def breaks():
        yield 1
        raise ValueError("a mistake")

    arriving = Arrivals(breaks())
    await asyncio.sleep(0.01)

    assert await arriving.next(soon()) == [1]
    with pytest.raises(ValueError, match="a mistake"):
        await arriving.next(soon())


async def test_closing_ends_the_iterator_wherever_it_is():
    ended = list[str]()

    async def items(name: str, wait: bool):
        try:
            while True:
                yield name
                if wait:
                    await asyncio.Event().wait()
        finally:
            ended.append(name)

    waiting, full = Arrivals(items("waiting", True)), Arrivals(items("full", False))
    await waiting.next(soon())
    await full.next(soon())
    await waiting.close()
    await full.close()
    await Arrivals(items("never begun", True)).close()

    assert ended == ["waiting", "full"]
