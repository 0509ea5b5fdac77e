"""Budgets, kept answers and what is not kept at all, through /v1 as its callers meet them."""

import json
import logging
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections
from django.test import AsyncClient
from django.utils import timezone

from core.valkey import sync_client
from llm.models import Model
from llm.providers.connections import close_connections
from observability.budgets.standing import standings
from observability.models import Run, UsageRecord
from observability.runs import live
from observability.runs.emptying import READ_WITHIN, empty_closed
from observability.runs.store import stream_key
from prompts.tests.test_api_budgets import Spender

WORDS = "quartz zephyr jukebox"
PATHS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": WORDS}]},
    "/v1/responses": {"input": WORDS},
}


@pytest.fixture
async def site(transactional_db, scripted):
    yield await sync_to_async(Spender)(scripted)
    await live.shutdown()
    await close_connections()
    await sync_to_async(connections.close_all)()


async def post(site, path: str, **body):
    return await AsyncClient().post(
        path,
        json.dumps({"model": "model:echo", **PATHS[path], **body}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {site.key()}"},
    )


async def streamed(response) -> str:
    return b"".join([part async for part in response.streaming_content]).decode()


async def standing(budget):
    return (await sync_to_async(standings)([budget]))[budget.pk]


@pytest.mark.parametrize("path", PATHS)
async def test_a_budget_that_is_used_up_is_an_error_as_openai_words_it(site, scripted, path):
    budget = await sync_to_async(site.budget)(limit=1, name="Small change")

    response = await post(site, path)

    assert (response.status_code, response["Content-Type"]) == (429, "application/json")
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("rate_limit_error", "budget_exceeded", None)
    assert "Small change" in error["message"]
    left = ((await standing(budget)).ends_at - timezone.now()).total_seconds()
    assert left <= int(response["Retry-After"]) <= left + 60
    # The official clients wait a minute at most, and would try again at once.
    assert response.get("X-Should-Retry") == ("false" if left > 60 else None)
    assert scripted.calls == []


async def test_a_stream_of_v1_ends_with_the_same_error(site, scripted):
    await sync_to_async(site.budget)(limit=1)

    chat = await streamed(await post(site, "/v1/chat/completions", stream=True))
    response = await streamed(await post(site, "/v1/responses", stream=True))

    assert json.loads(chat.strip().split("\n\n")[-1].removeprefix("data: "))["error"]["code"] == "budget_exceeded"
    last = json.loads(response.strip().split("\n\n")[-1].split("data: ")[1])
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "rate_limit_exceeded")
    assert last["response"]["error"]["magnet_code"] == "budget_exceeded"
    assert scripted.calls == []


async def test_a_kept_answer_takes_nothing_of_a_budget_and_gives_back_what_it_held(site, scripted):
    budget = await sync_to_async(site.budget)(limit=1_000_000)
    await Model._unscoped.filter(slug="echo").aupdate(cache_seconds=60)
    first = (await post(site, "/v1/chat/completions")).json()
    used = (await standing(budget)).used

    again = (await post(site, "/v1/chat/completions")).json()

    assert len(scripted.calls) == 1
    assert again["choices"][0]["message"] == first["choices"][0]["message"]
    assert (first["usage"]["total_tokens"], again["usage"]["total_tokens"]) == (used, 0)
    assert used > 0
    stands = await standing(budget)
    assert (stands.used, stands.reserved) == (used, 0)
    assert await UsageRecord._unscoped.acount() == 2

    await type(budget)._unscoped.filter(pk=budget.pk).aupdate(limit=used)
    assert (await post(site, "/v1/chat/completions")).status_code == 429  # nothing is left to reserve


def rows_with(word: str) -> set[str]:
    """Tables that hold a word in any column."""
    return {
        model._meta.label for model in apps.get_models() for row in model._base_manager.values() if word in repr(row)
    }


READ = {
    b"string": "get",
    b"stream": "xrange",
    b"hash": "hgetall",
    b"set": "smembers",
    b"list": "lrange",
    b"zset": "zrange",
}


def keys_with(word: str) -> set[bytes]:
    """Keys of Valkey that hold a word, in their name or value."""
    client = sync_client()
    found = set()
    for key in client.scan_iter("*"):
        kind = client.type(key)
        bounds = (0, -1) if kind in (b"list", b"zset") else ()
        if word in repr((key, getattr(client, READ[kind])(key, *bounds))):
            found.add(key)
    return found


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_live_stream_of_the_level_none_leaves_no_word(site, scripted, path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    sync_client().flushdb()
    await Model._unscoped.filter(slug="echo").aupdate(cache_seconds=60)
    variant = {"messages": [{"role": "system", "content": "Repeat."}], "observability_level": "none"}
    await sync_to_async(site.published)(**variant)

    text = await streamed(await post(site, path, model="prompt:echo", stream=True))

    told = await sync_to_async(Run._unscoped.get)()
    assert (told.status, told.capture, told.content) == ("completed", "none", WORDS)
    assert "zephyr" in text
    assert await sync_to_async(rows_with)("zephyr") <= {"observability.Run", "observability.RunEvent"}
    assert keys_with("zephyr") == {stream_key(told.pk).encode()}
    await Run._unscoped.aupdate(finished_at=timezone.now() - READ_WITHIN - timedelta(seconds=1))
    assert await sync_to_async(empty_closed)() == 1

    for word in WORDS.split():
        assert await sync_to_async(rows_with)(word) == set()
        assert keys_with(word) == set()
        assert word not in caplog.text + "".join(capfd.readouterr())
    record = await UsageRecord._unscoped.aget()
    assert record.input_tokens > 0  # what it cost is known all the same
