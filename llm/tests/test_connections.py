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


async def test_closing_all_lets_calls_end_first(monkeypatch):
    monkeypatch.setattr(connections, "connect", lambda _model: Closing())
    busy, idle = models(2)
    unused = await use(idle)

    async with connection(busy) as used:
        await connections.close_connections()
        assert (unused.closed, used.closed) == (1, 0)

    assert used.closed == 1
