"""Requests and tokens of a model in a minute: in Valkey, and in PostgreSQL while it is away."""

import asyncio
import subprocess
import sys
from contextlib import aclosing

import pytest
from django.db.models import F

from core.database import in_database
from core.exceptions import PayloadTooLarge
from core.valkey import async_client
from llm import limits
from llm.batches import batches
from llm.client import embed, stream_chat
from llm.exceptions import ModelLimitReached, NotAsked
from llm.limits import Need, reserve, settle
from llm.models import CallCount
from llm.retries import Deadline
from llm.tests.test_client_chat import request, said
from llm.tokens import estimate_tokens
from plugins.contracts import EmbeddingPurpose

PROCESS = """
import asyncio, sys, uuid
import django
django.setup()
from llm.exceptions import NotAsked
from llm.limits import Need, reserve
from llm.models import Model
from llm.retries import Deadline

async def main():
    model, taken = Model(pk=uuid.UUID(sys.argv[1]), requests_per_minute=20), 0
    for _ in range(15):
        try:
            await reserve(model, Need(1, 1), Deadline(5), 0)
            taken += 1
        except NotAsked:
            pass
    print(taken)

asyncio.run(main())
"""


@pytest.fixture(params=["valkey", "database"])
def store(request, transactional_db):
    """Both places in which calls are counted keep the same promises."""
    if request.param == "database":
        request.getfixturevalue("valkey_away")
    return request.param


async def taken(model, *needs: Need) -> int:
    """How many of these calls find room at once."""
    count = 0
    for need in needs:
        try:
            await reserve(model, need, Deadline(5), 0)
        except NotAsked:
            continue
        count += 1
    return count


async def test_requests_are_bounded(model_of, store):
    model = model_of("ok", requests_per_minute=3)

    assert await taken(model, *[Need(1, 1)] * 5) == 3
    with pytest.raises(NotAsked) as refused:
        await reserve(model, Need(1, 1), Deadline(5), 0)
    assert refused.value.kind == "limit"
    assert refused.value.retry_after is not None
    assert 58 < refused.value.retry_after <= 61


async def test_tokens_are_reserved_as_far_as_there_are_any_left(model_of, store):
    model = model_of("ok", tokens_per_minute=1000)

    first = await reserve(model, Need(300, 500), Deadline(5), 0)
    second = await reserve(model, Need(100, 500), Deadline(5), 0)

    assert (first.tokens, second.tokens) == (800, 200)
    assert await taken(model, Need(1, 1)) == 0


async def test_what_was_not_used_is_free_again(model_of, store):
    model = model_of("ok", tokens_per_minute=1000)
    reservation = await reserve(model, Need(500, 500), Deadline(5), 0)

    await settle(reservation, 400)

    assert await taken(model, Need(599, 1), Need(1, 1)) == 1


async def test_what_was_used_beyond_the_reservation_is_missing_for_others(model_of, store):
    model = model_of("ok", tokens_per_minute=1000)
    reservation = await reserve(model, Need(10, 90), Deadline(5), 0)

    await settle(reservation, 1000)

    assert await taken(model, Need(1, 1)) == 0


async def test_calls_at_once_take_no_more_than_there_is(model_of, store):
    model = model_of("ok", requests_per_minute=7, tokens_per_minute=10_000)

    assert sum(await asyncio.gather(*(taken(model, Need(1, 1)) for _ in range(20)))) == 7


async def test_a_slot_that_is_over_makes_room(model_of, store):
    model = model_of("ok", requests_per_minute=1)
    await reserve(model, Need(1, 1), Deadline(5), 0)
    if store == "database":
        await in_database(lambda: CallCount.objects.update(second=F("second") - 120))
    else:
        key = limits._key(model)
        fields = await async_client().hgetall(key)
        await async_client().delete(key)
        await async_client().hset(key, mapping={b"r1": fields[next(f for f in fields if f[:1] == b"r")]})

    assert await taken(model, Need(1, 1)) == 1


async def test_a_call_waits_for_room_that_comes_in_time(model_of, store):
    model = model_of("ok", tokens_per_minute=1000)
    held = await reserve(model, Need(900, 100), Deadline(5), 0)

    async def let_go() -> None:
        await asyncio.sleep(0.3)
        await settle(held, 100)

    # The wait by the clock would be a minute: it is asked again each second, as reservations are corrected.
    _, got = await asyncio.gather(let_go(), reserve(model, Need(100, 100), Deadline(90), 80))

    assert got.tokens == 200


async def test_a_call_larger_than_a_minute_is_refused_for_good(model_of):
    with pytest.raises(NotAsked) as refused:
        await reserve(model_of("ok", tokens_per_minute=100), Need(200, 1), Deadline(5))

    assert (refused.value.kind, refused.value.retry_after) == ("too_large", None)


async def test_without_limits_nothing_is_counted(model_of, valkey_away):
    reservation = await reserve(model_of("ok"), Need(10, 10), Deadline(5))

    await settle(reservation, 20)  # neither store is asked: there is none here


def test_processes_share_the_count(model_of):
    model = model_of("ok")
    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(model.pk)], stdout=subprocess.PIPE, env=_environment())
        for _ in range(2)
    ]

    counts = [int(one.communicate(timeout=60)[0]) for one in started]

    assert sum(counts) == 20


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "DJANGO_SETTINGS_MODULE": "magnet.settings"}


# --- through the client


async def test_over_the_limit_is_a_429_with_the_time_to_wait(model_of, scripted, monkeypatch):
    monkeypatch.setattr(limits, "LONGEST_WAIT_SECONDS", 0.2)
    model = model_of("ok", requests_per_minute=2)
    await said(model)
    await said(model)

    with pytest.raises(ModelLimitReached, match=r"limit for a minute is reached. Model 'ok'") as refused:
        await said(model)

    assert refused.value.status == 429
    assert 50 < refused.value.retry_after <= 61
    assert len(scripted.calls) == 2


async def test_retries_count_as_requests(model_of, scripted):
    with pytest.raises(ModelLimitReached):
        await said(model_of("unavailable-twice", requests_per_minute=2))

    assert len(scripted.calls) == 2


async def test_a_call_is_settled_at_what_it_took(model_of):
    model = model_of("ok", tokens_per_minute=10_000)

    await said(model)

    assert await _counted(model) == 15  # 5 of the question and 10 of the answer, as the vendor counts


async def test_a_failed_call_takes_no_tokens(model_of):
    model = model_of("fails-twice", tokens_per_minute=10_000)

    with pytest.raises(Exception, match="HTTP 500"):
        await said(model)

    assert await _counted(model) == 0


async def test_a_call_that_was_left_takes_what_came(model_of, scripted):
    model = model_of("slow", tokens_per_minute=10_000)

    async with aclosing(stream_chat(model, request())) as deltas:
        for _ in range(4):
            await anext(deltas)

    assert 5 <= await _counted(model) < 50


async def test_an_answer_of_unknown_length_does_not_block_a_large_limit(model_of):
    model = model_of("slow", tokens_per_minute=100_000)

    async with aclosing(stream_chat(model, request())) as one, aclosing(stream_chat(model, request())) as other:
        assert (await anext(one)).text
        assert (await anext(other)).text


async def test_quotas_of_tokens_are_overspent_by_one_call_at_most(model_of, scripted, monkeypatch):
    """H07: fifty at once against 1,000 tokens."""
    monkeypatch.setattr(limits, "LONGEST_WAIT_SECONDS", 0.0)
    model = model_of("ok", tokens_per_minute=1000)

    answers = await asyncio.gather(*(said(model) for _ in range(50)), return_exceptions=True)

    refused = [one for one in answers if isinstance(one, ModelLimitReached)]
    assert len(refused) + len(scripted.calls) == 50
    assert refused
    assert all(one.retry_after for one in refused)
    assert await _counted(model) <= 1000 + 15


async def test_a_prompt_larger_than_the_limit_says_so(model_of, scripted):
    with pytest.raises(PayloadTooLarge, match=r"takes 3 in a minute"):
        await said(model_of("ok", tokens_per_minute=3))

    assert scripted.calls == []


async def test_embeddings_are_cut_into_requests_that_fit(model_of, scripted):
    """As a whole they would be refused for good."""
    texts = [f"some words of text number {n}" for n in range(40)]

    with pytest.raises(ModelLimitReached):
        await embed(
            model_of("embed", dimensions=32, tokens_per_minute=200), texts, purpose=EmbeddingPurpose.QUERY, deadline=3
        )

    cut = batches(texts, 100, 200)
    assert sum(len(batch.texts) for batch in cut) == 40
    assert all(sum(map(estimate_tokens, batch.texts)) <= 200 for batch in cut)


async def _counted(model) -> int:
    fields = await async_client().hgetall(limits._key(model))
    return sum(int(value) for name, value in fields.items() if name.startswith(b"t"))
