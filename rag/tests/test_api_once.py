"""Idempotency-Key on runs: one run for each key, whose answer or events are told again."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from observability.models import Run
from rag.tests.test_api_runs import QUESTION, events_of, post

QUERY = "rag-tools/rules-qa/query"


@pytest.fixture
async def ask(world):
    """Ask with one credential, so that all requests come from one principal."""
    credentials = await sync_to_async(world.headers)()
    world.headers = lambda *_: credentials

    def send(body=None, key="q-1", path=QUERY):
        return post(world, path, body or {"question": QUESTION}, **{"Idempotency-Key": key})

    return send


async def runs() -> int:
    return await Run._unscoped.acount()


async def test_the_same_question_again_gets_the_same_answer(ask):
    first, again = await ask(), await ask()

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    assert await runs() == 1


async def test_a_stream_tells_its_events_again(ask):
    body = {"question": QUESTION, "stream": True}
    first = await events_of(await ask(body))

    again = await ask(body)

    assert await events_of(again) == first
    assert again["Idempotency-Replayed"] == "true"
    assert await runs() == 1


async def test_another_question_is_refused_and_another_key_runs(ask):
    await ask()

    other = await ask({"question": "When does the kitchen close?"})

    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await ask(key="q-2")).status_code == 200
    assert await runs() == 2


async def test_twenty_at_once_are_one_run(ask):
    answers = await asyncio.gather(*(ask() for _ in range(20)))

    kinds = {answer.status_code for answer in answers}
    assert kinds <= {200, 409}
    told = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    assert told == {(await ask()).json()["id"]}
    assert await runs() == 1


@pytest.mark.parametrize(
    ("end", "runs_after"),
    [
        ({"status": "running"}, 1),
        ({"status": "incomplete", "finish_reason": "process_lost"}, 2),
        ({"status": "cancelled", "finish_reason": "shutdown"}, 2),
        ({"status": "failed", "problem": {"status": 502, "code": "upstream_error"}}, 2),
        ({"status": "cancelled", "finish_reason": "cancelled"}, 1),
    ],
)
async def test_what_the_platform_broke_off_runs_anew(ask, end, runs_after):
    await ask()
    await Run._unscoped.aupdate(**end)

    again = await ask()

    assert again.status_code == (409 if end["status"] == "running" else 200)
    assert again.get("Retry-After") == ("1" if end["status"] == "running" else None)
    assert await runs() == runs_after


async def test_a_run_that_was_deleted_runs_anew(ask):
    await ask()
    await Run._unscoped.all().adelete()

    assert (await ask()).status_code == 200
    assert await runs() == 1


async def test_a_tool_that_is_not_there_comes_before_the_key(ask):
    await ask()

    assert (await ask({"question": "x"}, path="rag-tools/none/query")).status_code == 404


async def test_runs_are_counted_as_runs_also_when_they_stream(ask):
    answers = [await ask(key="a"), await ask({"question": QUESTION, "stream": True}, key="b")]
    await events_of(answers[1])

    assert [answer["RateLimit-Policy"] for answer in answers] == ['"runs";q=300;w=60'] * 2
    assert [answer["RateLimit-Remaining"] for answer in answers] == ["299", "298"]
