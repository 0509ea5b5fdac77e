"""A rerank model orders what was found: over real HTTP, in Cohere's and Jina's shapes, and when it is down."""

import pytest
from asgiref.sync import sync_to_async

from core.variant_services import variant_create_draft, variant_publish
from llm.choices import ModelKind
from llm.models import Model
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.vendors import KEY, vendor
from magnet.tests.scripted_vendors import cohere, rankers
from observability.models import Span, UsageRecord
from rag.tests.conftest import World
from rag.tests.test_api_runs import post
from rag.tests.test_api_tools import client_of

QUERY = "How many days of holiday?"
SHAPES = {"cohere": (cohere, "rerank-test"), "jina": (rankers, "jina-reranker-v2")}


async def backwards(exchange) -> None:
    """The last passage is the best one."""
    places = range(len(exchange.call.body["documents"]))
    rows = [{"index": place, "relevance_score": 0.25 * place} for place in reversed(places)]
    await exchange.json(200, {"results": rows})


async def broken(exchange) -> None:
    await exchange.error(401, "Incorrect API key provided")


@sync_to_async
def reranker(world: World, server, type: str = "cohere", identifier: str = "rerank-test", **values) -> Model:
    """The published search reranks with a model at this server."""
    workspace = world.member.workspace
    provider = ProviderFactory(workspace=workspace, type=type, base_url=server.url, api_key=KEY)
    model = ModelFactory(provider=provider, slug="ranker", identifier=identifier, kind=ModelKind.RERANK)
    draft = variant_create_draft(world.search, actor=None, values={"rerank_model": model, **values})
    variant_publish(draft, actor=None)
    return model


async def search(world: World, **body):
    return await post(world, "retrieval-tools/rules-search/search", {"query": QUERY, **body})


async def order(world: World) -> list[str]:
    return [one["chunk_id"] for one in (await search(world)).json()["results"]]


@pytest.mark.parametrize("shape", SHAPES)
async def test_scores_of_the_reranker_are_in_the_results_and_in_the_trace(world, settings, shape):
    script, identifier = SHAPES[shape]
    with vendor(script, settings) as server:
        await reranker(world, server, shape, identifier)
        found = (await search(world)).json()

    scores = [one["rerank_score"] for one in found["results"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]
    assert found["degraded"] == []
    assert found["timings"]["rerank_ms"] > 0
    spans = {one.operation: one async for one in Span._unscoped.filter(trace_id=found["trace_id"])}
    documents = spans["retrieval"].attributes["gen_ai.retrieval.documents"]
    assert [one["rerank_score"] for one in documents] == scores
    assert await UsageRecord._unscoped.filter(operation="rerank", model_slug="ranker").acount() == 1


async def test_the_reranker_decides_the_order_and_top_k_how_many_are_handed_on(world, settings):
    fused = await order(world)
    with vendor(backwards, settings) as server:
        await reranker(world, server)
        found = (await search(world, top_k=2)).json()
        sent = server.calls[-1].body

    assert [one["chunk_id"] for one in found["results"]] == [*reversed(fused)][:2]
    assert [one["rerank_score"] for one in found["results"]] == [0.5, 0.25]
    assert (sent["query"], len(sent["documents"]), sent["top_n"]) == (QUERY, 3, 2)


async def test_it_reads_no_more_passages_than_it_may(world, settings):
    with vendor(backwards, settings) as server:
        await reranker(world, server, top_k=1, rerank_top_n=2)
        found = (await search(world)).json()
        sent = server.calls[-1].body

        more = (await search(world, top_k=3)).json()

    assert len(sent["documents"]) == 2
    assert [one["rerank_score"] for one in found["results"]] == [0.25]
    assert [one["rerank_score"] for one in more["results"]] == [0.25, 0.0, None]


async def test_a_reranker_that_is_down_leaves_the_fused_order_and_the_answer_says_so(world, settings):
    fused = await order(world)
    with vendor(broken, settings) as server:
        await reranker(world, server)
        found = (await search(world)).json()
        answer = (await post(world, "rag-tools/rules-qa/query", {"question": QUERY})).json()

    assert found["degraded"] == answer["degraded"] == ["rerank"]
    assert [one["chunk_id"] for one in found["results"]] == fused
    assert {one["rerank_score"] for one in found["results"]} == {None}
    assert (answer["status"], answer["resolution"]) == ("completed", "answered")


async def test_one_that_is_switched_off_is_refused_by_name(world, settings):
    with vendor(backwards, settings) as server:
        model = await reranker(world, server)
        await Model._unscoped.filter(pk=model.pk).aupdate(is_active=False)
        refused = await search(world)

    assert refused.status_code == 409
    assert "'ranker' is switched off" in refused.json()["detail"]
    assert server.calls == []


def test_only_a_rerank_model_of_the_workspace_is_taken(world):
    client = client_of(world)
    base = "/api/v1/retrieval-tools/rules-search/variants/"
    chat = Model.objects.for_workspace(world.member.workspace_id).filter(kind="chat").first()
    strange = ModelFactory(kind=ModelKind.RERANK)

    for slug in (chat.slug, str(strange.pk)):
        refused = client.post(base, {"rerank_model": slug})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/rerank_model")
    assert world.search.variants.count() == 1
