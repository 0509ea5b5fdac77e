"""What runs cost, over HTTP: the bill is what the scripted vendor counted times the price, to the last decimal."""

from decimal import Decimal

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from llm.models import ModelPrice
from llm.providers.connections import close_connections
from observability.models import Span, UsageRecord
from prompts.tests.test_api_runs import SCHEMA, Site, publish, run

PRICE = {"input": Decimal("2.5"), "cached_input": Decimal("1.25"), "output": Decimal("10.01")}


@pytest.fixture
async def site(transactional_db, scripted):
    yield await sync_to_async(Site)(scripted)
    await close_connections()


def priced(model, **values) -> None:
    ModelPrice(model=model, workspace=model.workspace, valid_from=timezone.now(), **{**PRICE, **values}).save()


def bill(given: int, cached: int, spoken: int) -> Decimal:
    """By hand, from the vendor's figures (words are tokens, 3 of the input are cached)."""
    return ((given - cached) * PRICE["input"] + cached * PRICE["cached_input"] + spoken * PRICE["output"]) / 10**6


async def active_model(site):
    return await sync_to_async(lambda: site.prompt.variants.get(is_active=True).model)()


async def test_a_run_costs_what_the_vendor_counted_times_the_price(site):
    await sync_to_async(priced)(await active_model(site))

    answer = (await run(site, {"variables": {"text": "one two three"}})).json()

    expected = bill(5, 3, 3)
    assert answer["usage"]["cost"] == f"{expected:.8f}"
    assert answer["usage"]["currency"] == "USD"
    record = await UsageRecord._unscoped.aget(run_id=answer["id"])
    assert record.cost == expected
    spans = [one async for one in Span._unscoped.filter(trace_id=answer["trace_id"], operation="chat")]
    assert [one.attributes["magnet.cost"] for one in spans] == [f"{expected:.8f}"]


async def test_all_calls_of_a_run_are_summed(site):
    model = await sync_to_async(site.model)("json-second")
    await sync_to_async(priced)(model)
    await publish(site, model=model, response_format="json_schema", output_schema=SCHEMA)

    answer = (await run(site, {"variables": {"text": "how many"}})).json()

    records = [one async for one in UsageRecord._unscoped.filter(run_id=answer["id"])]
    assert len(records) == 2
    by_hand = sum(bill(one.input_tokens, 3, one.output_tokens) for one in records)
    assert Decimal(answer["usage"]["cost"]) == sum(one.cost for one in records) == by_hand
    assert answer["output"] == {"days": 28}


async def test_without_a_price_the_cost_is_null_and_never_zero(site):
    answer = (await run(site, {"variables": {"text": "one two three"}})).json()

    assert answer["usage"]["cost"] is None
    assert (await UsageRecord._unscoped.aget(run_id=answer["id"])).cost is None


async def test_an_estimate_is_priced_and_marked(site):
    model = await sync_to_async(site.model)("no-usage")
    await sync_to_async(priced)(model)
    await publish(site, model=model)

    answer = (await run(site, {"variables": {"text": "one"}})).json()

    assert answer["usage"]["estimated"] is True
    assert Decimal(answer["usage"]["cost"]) > 0


async def test_a_run_that_breaks_off_costs_what_was_spent(site):
    model = await sync_to_async(site.model)("cut")
    await sync_to_async(priced)(model)
    await publish(site, model=model)

    answer = (await run(site, {"variables": {"text": "one"}})).json()

    assert answer["status"] == "incomplete"
    assert Decimal(answer["usage"]["cost"]) > 0
