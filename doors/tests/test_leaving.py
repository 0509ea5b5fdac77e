"""Many callers of /v1 at once, some of whom leave: each hears their own answer, and nothing is kept of who has left."""

import asyncio
import time

import openai
import psutil
import pytest
from asgiref.sync import sync_to_async

from core.access import Role
from magnet.tests.platform import wait_for
from observability.models import Run, UsageRecord

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

CALLERS, AT_ONCE, ROUNDS = 6, 60, 2
VARIABLES = {"RATE_RUNS": "1000"}


def web_of(door) -> psutil.Process:
    port = int(door.url.rpartition(":")[2].partition("/")[0])
    [process] = [
        psutil.Process(one.pid)
        for one in psutil.net_connections("tcp4")
        if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN
    ]
    return process


async def hear(client: openai.AsyncOpenAI, mark: str) -> str:
    """All of an answer."""
    said = [{"role": "user", "content": mark}]
    stream = await client.chat.completions.create(model="talks", messages=said, stream=True)
    return "".join([one.choices[0].delta.content or "" async for one in stream])


async def leave(client: openai.AsyncOpenAI, mark: str) -> str:
    """The words of an answer that comes to no end, without waiting for one."""
    heard, said = "", [{"role": "user", "content": mark}]
    async with await client.chat.completions.create(model="stalls", messages=said, stream=True) as stream:
        async for one in stream:
            heard += one.choices[0].delta.content or ""
            if heard.count(mark) == 20:
                break
    return heard


async def one_round(door, keys: list[str], number: int) -> None:
    """Every second caller leaves."""
    clients = [openai.AsyncOpenAI(base_url=door.url, api_key=key, max_retries=0, timeout=60) for key in keys]
    marks = [f"mark-{number}-{n}" for n in range(AT_ONCE)]
    ways = (hear, leave)
    told = await asyncio.gather(*(ways[n % 2](clients[n % CALLERS], mark) for n, mark in enumerate(marks)))
    for n, (mark, text) in enumerate(zip(marks, told, strict=True)):
        assert text.split() == [mark] * (20 if n % 2 else 100)
    for client in clients:
        await client.close()


def standing(process: psutil.Process) -> tuple[int, float]:
    """Open files, sockets among them, and megabytes."""
    return process.num_fds(), process.memory_info().rss / 2**20


@pytest.mark.timeout(400)  # on a machine that does other things, too
async def test_each_caller_hears_their_own_answer_and_who_leaves_costs_nothing(door):
    for name, identifier in (("talks", "echo-slow"), ("stalls", "echo-stall")):
        await sync_to_async(door.add_model)(name, identifier=identifier)
    keys = [await sync_to_async(door.key)(Role.OPERATOR) for _ in range(CALLERS)]
    process = web_of(door)
    seen = list[tuple[int, float]]()

    for number in range(ROUNDS):
        await one_round(door, keys, number)
        await asyncio.to_thread(door.provider.until_idle, 2)
        await asyncio.sleep(1.5)
        seen.append(standing(process))

    each = AT_ONCE * ROUNDS // 2
    assert [call.abandoned for call in door.provider.calls_of("echo-slow")] == [False] * each
    assert [call.abandoned for call in door.provider.calls_of("echo-stall")] == [True] * each
    assert seen[-1][0] <= seen[0][0] + 5
    assert seen[-1][1] - seen[0][1] < 15
    heard, left = (Run._unscoped.filter(target_slug=slug) for slug in ("talks", "stalls"))
    assert await heard.filter(status="completed").acount() == each
    assert await left.filter(status="cancelled", finish_reason="caller_gone").acount() == each
    assert {one.content.split()[-1] async for one in left} == {
        one.input["messages"][0]["content"] async for one in left
    }
    assert await UsageRecord._unscoped.filter(run__target_slug__in=("talks", "stalls")).acount() == 2 * each


def test_a_vendor_that_is_silent_for_a_while_is_waited_for(door):
    door.add_model("silent-2")
    client = door.client(timeout=10)

    said = [{"role": "user", "content": "Hello"}]
    stream = client.chat.completions.create(model="silent-2", messages=said, stream=True)

    assert "".join(one.choices[0].delta.content or "" for one in stream) == "Half an answer and the rest"


def test_a_stream_outlives_a_vendor_that_hangs_and_one_who_leaves_meanwhile_frees_it(door):
    door.add_model("silent-32")
    said = [{"role": "user", "content": "Hello"}]
    client, other = door.client(timeout=20), door.client(timeout=20)  # of each read: comments come each 15 s
    process = web_of(door)
    before = standing(process)

    whole = client.chat.completions.create(model="silent-32", messages=said, stream=True)
    gone = other.chat.completions.create(model="silent-32", messages=said, stream=True)
    assert next(iter(gone)).choices[0].delta.role == "assistant"
    wait_for(lambda: len(door.provider.calls_of("silent-32")) == 2, 5)
    time.sleep(1)
    gone.close()
    other.close()
    wait_for(lambda: sum(call.abandoned for call in door.provider.calls_of("silent-32")) == 1, 2)
    text = "".join(one.choices[0].delta.content or "" for one in whole)
    client.close()

    assert text == "Half an answer and the rest"
    after = standing(process)
    assert after[0] <= before[0] + 3
    assert after[1] - before[1] < 10
