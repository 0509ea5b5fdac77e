import asyncio
import threading

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from magnet import request_threads
from magnet.request_threads import request_thread


@pytest.fixture(autouse=True)
def _none_kept(monkeypatch):
    monkeypatch.setattr(request_threads, "_free", [])


async def idents(count: int = 2) -> list[int]:
    """The threads of so much work of one request."""
    async with request_thread():
        return [await sync_to_async(threading.get_ident)() for _ in range(count)]


async def test_a_request_stays_in_its_thread_and_the_next_one_takes_it():
    first = await idents()

    assert len(set(first)) == 1
    assert threading.get_ident() not in first
    assert await idents() == first


async def test_requests_at_the_same_time_share_no_thread():
    together = asyncio.Barrier(2)

    async def one() -> int:
        async with request_thread():
            await together.wait()
            return await sync_to_async(threading.get_ident)()

    assert len({*await asyncio.gather(one(), one())}) == 2


async def test_a_thread_is_given_back_when_its_request_is_left():
    (first,) = await idents(1)
    inside = asyncio.Event()

    async def hangs() -> None:
        async with request_thread():
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(hangs())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await idents(1) == [first]


@pytest.mark.django_db(transaction=True)
async def test_a_request_that_breaks_off_leaves_no_connection_behind():
    async def breaks_off() -> None:
        async with request_thread():
            await sync_to_async(connection.ensure_connection)()
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await breaks_off()

    (thread,) = request_threads._free
    assert thread.submit(lambda: connection.connection).result() is None


async def test_no_more_threads_are_kept_than_are_worth_it(monkeypatch):
    monkeypatch.setattr(request_threads, "KEPT", 2)
    together = asyncio.Barrier(5)

    async def one() -> None:
        async with request_thread():
            await sync_to_async(threading.get_ident)()
            await together.wait()

    await asyncio.gather(*(one() for _ in range(5)))

    assert len(request_threads._free) == 2


@pytest.mark.django_db(transaction=True)
async def test_a_thread_that_is_kept_holds_no_connection():
    """Through the whole application, whose views may leave one open."""
    from magnet.asgi import application

    answers = []

    async def ask() -> None:
        given = [{"type": "http.request", "body": b"", "more_body": False}]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": "/api/v1/models/", "raw_path": b"/api/v1/models/", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer mk_0123456789ab_" + b"x" * 43)],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip

        async def receive() -> dict:
            return given.pop() if given else await asyncio.sleep(60)

        async def send(message: dict) -> None:
            answers.append(message)

        await application(scope, receive, send)

    await ask()
    assert answers[0]["status"] == 401
    (thread,) = request_threads._free
    assert thread.submit(lambda: connection.connection).result() is None
