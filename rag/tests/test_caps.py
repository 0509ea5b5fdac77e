"""What is asked too much is refused quickly, and what a budget refuses is refused as such, not answered worse."""

import json
import time

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from observability.budget_services import budget_create
from observability.models import Run, UsageRecord
from rag.tests.test_api_runs import QUESTION, post

SECONDS = 2.0  # of this process on the processor: others may be busy
TURN = {"role": "user", "content": "x"}


async def timed(response) -> tuple[int, dict]:
    began = time.process_time()
    answer = await response
    assert time.process_time() - began < SECONDS
    return answer.status_code, answer.json()


@pytest.mark.parametrize("top_k", [10**9, -1, 0, 1.5, "many", None, 2**70])
async def test_a_top_k_out_of_range_is_a_400(world, top_k):
    status, problem = await timed(post(world, "retrieval-tools/rules-search/search", {"query": "x", "top_k": top_k}))

    assert (status, problem["errors"][0]["pointer"]) == (400, "/top_k")
    assert not await Run._unscoped.aexists()


@pytest.mark.parametrize(
    "path, field", [("rag-tools/rules-qa/query", "question"), ("retrieval-tools/rules-search/search", "query")]
)
async def test_a_message_of_five_megabytes_is_refused(world, path, field):
    status, _ = await timed(post(world, path, {field: "word " * 1_000_000}))

    assert status in (400, 413)
    assert not await Run._unscoped.aexists()


async def test_a_history_of_ten_thousand_turns_is_refused(world):
    body = {"question": "x", "history": [TURN] * 10_000}

    status, problem = await timed(post(world, "rag-tools/rules-qa/query", body))

    assert (status, problem["errors"][0]["pointer"]) == (400, "/history")
    assert not await Run._unscoped.aexists()


async def test_a_prompt_takes_neither_ten_thousand_turns_nor_megabytes(world):
    path = "prompt-templates/rag-answer/run"
    variables = {"question": "x", "context": "y"}

    turns, _ = await timed(post(world, path, {"variables": variables, "messages": [TURN] * 10_000}))
    long, _ = await timed(post(world, path, {"variables": {**variables, "context": "word " * 1_000_000}}))

    assert turns == 400
    assert long in (400, 413)
    assert not await Run._unscoped.aexists()


@pytest.mark.parametrize("limit", [10**6, 0, -1, "all"])
async def test_a_page_of_a_million_rows_is_a_400(world, limit):
    headers = await sync_to_async(world.headers)()

    status, problem = await timed(AsyncClient().get(f"/api/v1/documents/?limit={limit}", headers=headers))

    assert (status, problem["errors"][0]["pointer"]) == (400, "/limit")


@pytest.mark.parametrize("most", [10**12, -1, 0])
async def test_max_tokens_out_of_range_is_a_400(world, most):
    headers = await sync_to_async(world.headers)()
    body = {"name": "P", "slug": "p", "variant": {"messages": [TURN], "max_tokens": most}}

    status, _ = await timed(
        AsyncClient().post(
            "/api/v1/prompt-templates/", json.dumps(body), content_type="application/json", headers=headers
        )
    )

    assert status == 400


async def forbid(world) -> None:
    """A budget of no tokens at all."""
    member = await sync_to_async(MembershipFactory)(workspace=world.member.workspace, role=Role.ADMIN)
    values = {"name": "Nothing", "slug": "nothing", "unit": "tokens", "limit": 0, "period": "day"}
    await sync_to_async(budget_create)(principal=principal_of(member), values=values)


async def test_a_search_that_a_budget_refuses_is_no_worse_search_but_a_429(world):
    await forbid(world)
    before = await UsageRecord._unscoped.acount()

    status, problem = await timed(post(world, "retrieval-tools/rules-search/search", {"query": QUESTION}))

    assert (status, problem["code"]) == (429, "budget_exceeded")
    assert await UsageRecord._unscoped.acount() == before


async def test_a_question_that_a_budget_refuses_is_a_429_with_the_time_to_wait(world):
    await forbid(world)

    response = await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})

    assert (response.status_code, response.json()["code"]) == (429, "budget_exceeded")
    assert int(response["Retry-After"]) > 0
