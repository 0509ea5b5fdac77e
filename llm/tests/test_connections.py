import subprocess
import sys

from core.ids import uuid7
from llm.providers import connections
from llm.providers.connections import connection
from llm.tests.factories import LocalModelFactory


class Closing:
    """A connection that notes when it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


async def use(model) -> Closing:
    async with connection(model) as provider:
        return provider


def models(count: int) -> list:
    return [
        LocalModelFactory.build(workspace=None, provider__workspace=None, provider__pk=uuid7()) for _ in range(count)
    ]


async def test_the_connection_that_was_not_used_for_longest_is_closed(monkeypatch):
    monkeypatch.setattr(connections, "KEPT", 2)
    monkeypatch.setattr(connections, "connect", lambda _model: Closing())
    first, second, third = models(3)
    one, two = await use(first), await use(second)
    assert await use(first) is one

    three = await use(third)

    assert [kept.closed for kept in (one, two, three)] == [0, 1, 0]


async def test_a_replaced_connection_closes_with_its_last_call(monkeypatch):
    monkeypatch.setattr(connections, "connect", lambda _model: Closing())
    model = models(1)[0]

    async with connection(model) as old:
        model.provider.version += 1
        assert await use(model) is not old
        assert old.closed == 0

    assert old.closed == 1


async def test_an_older_copy_of_the_row_uses_the_newer_connection(monkeypatch):
    monkeypatch.setattr(connections, "connect", lambda _model: Closing())
    model = models(1)[0]
    model.provider.version = 2
    newer = await use(model)
    model.provider.version = 1

    assert await use(model) is newer


def test_the_client_of_the_first_call_is_loaded_beside_the_loop():
    """In a process of its own, as this one has it already. The longest that the loop stood still, of the whole time."""
    code = """
import asyncio, os, sys, time
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
django.setup()
from llm.providers.registry import load_sdk

async def main():
    assert "openai" not in sys.modules
    began, gaps, loading = time.perf_counter(), [], asyncio.create_task(load_sdk("openai"))
    while not loading.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        gaps.append(time.perf_counter() - before)
    assert "openai" in sys.modules
    print(max(gaps) / (time.perf_counter() - began))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert float(done.stdout.splitlines()[-1]) < 0.5


async def test_closing_all_lets_calls_end_first(monkeypatch):
    monkeypatch.setattr(connections, "connect", lambda _model: Closing())
    busy, idle = models(2)
    unused = await use(idle)

    async with connection(busy) as used:
        await connections.close_connections()
        assert (unused.closed, used.closed) == (1, 0)

    assert used.closed == 1
