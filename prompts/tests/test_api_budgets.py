"""Budgets over HTTP, with a scripted vendor over HTTP: what is refused, what is counted, what parallel calls spend."""

import asyncio
import json
from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from accounts.services import api_key_issue
from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from llm.models import ModelPrice
from llm.providers.connections import close_connections
from observability.budget_services import budget_create
from observability.budgets.standing import standings
from observability.models import Reservation, Run, UsageRecord
from prompts.tests.test_api_bill import priced
from prompts.tests.test_api_runs import Site, publish, run


class Spender(Site):
    def __init__(self, scripted) -> None:
        super().__init__(scripted)
        self.admin = principal_of(MembershipFactory(workspace=self.member.workspace, role=Role.ADMIN))
        self.issued = api_key_issue(user=self.member.user, workspace=self.member.workspace, name="spender")

    def key(self, role=None) -> str:
        return self.issued.text

    def budget(self, **values):
        given = {"name": "Trial", "slug": "trial", "unit": "tokens", "limit": 1000, "period": "day", **values}
        return budget_create(principal=self.admin, values=given)


@pytest.fixture
async def site(transactional_db, scripted):
    yield await sync_to_async(Spender)(scripted)
    await close_connections()


async def standing(budget):
    return (await sync_to_async(standings)([budget]))[budget.pk]


async def say(site, words: int, **body):
    return await run(site, {"variables": {"text": "word " * words}, **body})


async def test_what_is_counted_is_what_the_books_say(site):
    budget = await sync_to_async(site.budget)()

    answer = (await say(site, 20)).json()

    record = await UsageRecord._unscoped.aget(run_id=answer["id"])
    assert (await standing(budget)).used == record.input_tokens + record.output_tokens == 42
    assert (await standing(budget)).reserved == 0
    assert not await Reservation._unscoped.aexists()


async def test_a_budget_that_is_used_up_is_a_429_that_says_which_and_until_when(site, scripted):
    budget = await sync_to_async(site.budget)(limit=30, name="Small change")
    await say(site, 5)
    calls = len(scripted.calls)

    response = await say(site, 20)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (429, "budget_exceeded")
    assert "Small change" in problem["detail"]
    ends = (await standing(budget)).ends_at
    assert f"{ends:%Y-%m-%d %H:%M} UTC" in problem["detail"]
    assert 0 < int(response["Retry-After"]) <= 86_401
    assert len(scripted.calls) == calls
    assert (await Run._unscoped.order_by("-pk").afirst()).status == "failed"


async def test_a_stream_ends_with_the_same_problem(site):
    await sync_to_async(site.budget)(limit=0)

    response = await say(site, 5, stream=True)

    text = b"".join([part async for part in response.streaming_content]).decode()
    last = json.loads(text.strip().split("\n\n")[-1].split("data: ")[1])
    assert (last["problem"]["code"], last["problem"]["status"]) == ("budget_exceeded", 429)
    assert last["problem"]["retry_after"] > 0


async def test_fifty_parallel_calls_spend_no_more_than_the_quota(site):
    budget = await sync_to_async(site.budget)()

    responses = await asyncio.gather(*(say(site, 30) for _ in range(50)))

    by_status = {status: [r for r in responses if r.status_code == status] for status in (200, 429)}
    assert len(by_status[200]) + len(by_status[429]) == 50
    assert by_status[200]
    assert by_status[429]
    assert all(int(r["Retry-After"]) > 0 for r in by_status[429])
    spent = sum([one.input_tokens + one.output_tokens async for one in UsageRecord._unscoped.all()])
    assert spent == (await standing(budget)).used <= 1000
    assert (await standing(budget)).reserved == 0


async def test_an_answer_is_asked_for_no_more_than_is_left(site, scripted):
    await sync_to_async(site.budget)(limit=50)

    await say(site, 5)

    assert 0 < scripted.calls[-1].body["max_tokens"] < 50


async def test_a_budget_of_money_counts_the_cost_to_the_last_decimal(site):
    budget = await sync_to_async(site.budget)(unit="money", limit="0.05")
    model = await sync_to_async(lambda: site.prompt.variants.get(is_active=True).model)()
    await sync_to_async(priced)(model)

    answer = (await say(site, 20)).json()

    assert Decimal(answer["usage"]["cost"]) == (await standing(budget)).used > 0


async def test_a_model_without_a_price_is_refused_under_a_budget_of_money(site, scripted):
    await sync_to_async(site.budget)(unit="money")

    response = await say(site, 5)

    assert (response.status_code, response.json()["code"]) == (409, "price_unknown")
    assert not scripted.calls
    assert not await ModelPrice._unscoped.aexists()


async def test_a_call_that_fails_gives_back_what_it_reserved(site):
    budget = await sync_to_async(site.budget)()
    await publish(site, model=await sync_to_async(site.model)("unauthorized"))

    assert (await say(site, 5)).status_code == 502

    assert ((await standing(budget)).used, (await standing(budget)).reserved) == (0, 0)


async def test_a_stream_whose_reader_leaves_is_settled(site):
    budget = await sync_to_async(site.budget)()
    await publish(site, model=await sync_to_async(site.model)("slow"))
    response = await say(site, 5, stream=True)
    parts = aiter(response.streaming_content)
    for _ in range(6):
        await anext(parts)
    held = (await standing(budget)).reserved

    run_row = await Run._unscoped.order_by("-pk").afirst()
    await AsyncClient().post(f"/api/v1/runs/{run_row.pk}/cancel", headers={"Authorization": f"Bearer {site.key()}"})
    [part async for part in parts]

    found = await standing(budget)
    assert (held > 0, found.reserved) == (True, 0)
    assert found.used > 0


@pytest.mark.parametrize("scope", ["api_key", "tool"])
async def test_a_budget_of_a_key_or_tool_holds_that_one_alone(site, scope):
    target = {"target_kind": "prompt_template", "target_id": site.prompt.pk}
    await sync_to_async(site.budget)(
        scope=scope, limit=0, **({"api_key": site.issued.key} if scope == "api_key" else target)
    )
    other = (await sync_to_async(api_key_issue)(user=site.member.user, workspace=site.member.workspace, name="o")).text

    refused = await say(site, 5)
    answered = await AsyncClient().post(
        "/api/v1/prompt-templates/echo/run",
        json.dumps({"variables": {"text": "hello"}}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {other}"},
    )

    assert refused.status_code == 429
    assert answered.status_code == (200 if scope == "api_key" else 429)
