import json
import uuid

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role, Scope
from core.variant_services import variant_create_draft, variant_publish
from knowledge.services import document_delete
from observability.models import Run, RunEvent, Trace, UsageRecord
from rag.models import Citation, RagTool
from rag.tests.conftest import LEAVE

QUESTION = "How many days of holiday do employees have?"


async def post(world, path, body, member=None, scopes=tuple(Scope), **headers):
    credentials = await sync_to_async(world.headers)(member, scopes)
    client = AsyncClient()
    return await client.post(
        f"/api/v1/{path}", json.dumps(body), content_type="application/json", headers={**credentials, **headers}
    )


async def events_of(response) -> list[tuple[int, str, dict]]:
    text = b"".join([part async for part in response.streaming_content]).decode()
    frames = [frame for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    found = []
    for frame in frames:
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


async def test_an_answer_cites_the_passage_it_stands_on(world):
    response = await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})

    answer = response.json()
    assert response.status_code == 200
    assert (answer["status"], answer["resolution"], answer["finish_reason"]) == ("completed", "answered", "stop")
    assert "27 days" in answer["content"]
    citation = answer["citations"][0]
    assert citation["document_id"] == str(world.documents["Holiday"].pk)
    assert LEAVE[citation["char_start"] : citation["char_end"]] == citation["quote"]
    assert citation["verified"] is True
    assert answer["usage"]["output_tokens"] > 0
    assert answer["unsupported"] == []


async def test_the_run_its_trace_usage_and_citations_are_stored(world):
    answer = (await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})).json()

    run = await Run._unscoped.aget(pk=answer["id"])
    assert (run.status, run.content, run.answer) == ("completed", answer["content"], answer)
    assert run.input["question"] == QUESTION
    assert await Citation._unscoped.filter(run=run).acount() == len(answer["citations"])
    operations = {one.operation async for one in UsageRecord._unscoped.filter(run=run)}
    assert operations == {"chat", "embeddings"}
    trace = await Trace._unscoped.prefetch_related("spans").aget(pk=answer["trace_id"])
    assert {span.operation for span in trace.spans.all()} == {"retrieval", "embeddings", "chat"}


async def test_a_stream_tells_the_same_answer_in_order(world):
    response = await post(world, "rag-tools/rules-qa/query", {"question": QUESTION, "stream": True})

    assert response["Content-Type"].startswith("text/event-stream")
    assert response["X-Accel-Buffering"] == "no"
    told = await events_of(response)
    assert [seq for seq, _, _ in told] == list(range(1, len(told) + 1))
    names = [name for _, name, _ in told]
    assert names[:2] == ["run.started", "retrieval.completed"]
    assert names[-1] == "run.completed"
    assert names.count("run.completed") == 1
    answer = told[-1][2]["answer"]
    assert "".join(data["text"] for _, name, data in told if name == "message.delta") == answer["content"]
    assert [data["marker"] for _, name, data in told if name == "citation"] == [
        c["marker"] for c in answer["citations"]
    ]
    assert await RunEvent._unscoped.filter(run_id=answer["id"]).acount() == len(told)


async def test_accept_asks_for_a_stream_too_and_a_finished_run_is_replayed(world):
    response = await post(world, "rag-tools/rules-qa/query", {"question": QUESTION}, Accept="text/event-stream")
    told = await events_of(response)
    run_id = told[0][2]["run_id"]

    headers = await sync_to_async(world.headers)()
    replay = await AsyncClient().get(f"/api/v1/runs/{run_id}/events", headers={**headers, "Last-Event-ID": "2"})

    assert await events_of(replay) == told[2:]


async def test_what_the_sources_do_not_hold_is_not_answered(world):
    response = await post(world, "rag-tools/rules-qa/query", {"question": "Who won the chess olympiad in Budapest?"})

    answer = response.json()
    assert answer["resolution"] == "not_answered"
    assert answer["content"] == "The sources do not answer this question."
    assert answer["citations"] == []


async def test_a_deleted_document_answers_nothing_from_then_on(world):

    operator = principal_of(world.member)
    await sync_to_async(document_delete)(world.documents["Holiday"], principal=operator)

    answer = (await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})).json()

    assert str(world.documents["Holiday"].pk) not in {one["document_id"] for one in answer["retrieved"]}
    assert "27 days" not in answer["content"]


async def test_a_search_gives_scores_and_ranks(world):
    response = await post(
        world, "retrieval-tools/rules-search/search", {"query": "mirror of the telescope", "top_k": 2}
    )

    found = response.json()
    assert response.status_code == 200
    assert len(found["results"]) == 2
    best = found["results"][0]
    assert best["document_id"] == str(world.documents["Telescope"].pk)
    assert (best["dense_rank"], best["lexical_rank"]) == (1, 1)
    assert best["score"] == 1.0
    assert found["timings"]["total_ms"] >= found["timings"]["search_ms"]
    assert found["trace_id"]


async def test_without_a_threshold_every_passage_comes_also_the_unlike(world):
    found = (
        await post(world, "retrieval-tools/rules-search/search", {"query": "Quantum chromodynamics lattice"})
    ).json()

    assert len(found["results"]) == 3
    assert min(one["dense_score"] for one in found["results"]) < 0.1


async def test_a_threshold_drops_what_is_less_alike(world):
    draft = await sync_to_async(variant_create_draft)(world.search, actor=None, values={"similarity_threshold": 0.4})
    await sync_to_async(variant_publish)(draft, actor=None)

    found = (await post(world, "retrieval-tools/rules-search/search", {"query": "days of holiday"})).json()
    nothing = (await post(world, "rag-tools/rules-qa/query", {"question": "Quantum chromodynamics lattice?"})).json()

    assert [one["title"] for one in found["results"]] == ["Holiday"]
    assert (nothing["resolution"], nothing["retrieved"]) == ("no_results", [])


async def test_a_search_streams_too(world):
    response = await post(world, "retrieval-tools/rules-search/search", {"query": "kitchen", "stream": True})

    told = await events_of(response)

    assert [name for _, name, _ in told] == ["run.started", "retrieval.completed", "run.completed"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("rag-tools/rules-qa/query", {}, "/question"),
        ("rag-tools/rules-qa/query", {"question": "x" * 20_001}, "/question"),
        ("rag-tools/rules-qa/query", {"question": "x", "history": [{"role": "system", "content": "x"}]}, "/history"),
        ("retrieval-tools/rules-search/search", {"query": "x", "top_k": 10**9}, "/top_k"),
        ("retrieval-tools/rules-search/search", {"query": "x", "top_k": -1}, "/top_k"),
    ],
)
async def test_wrong_input_is_a_400_that_points_at_it(world, path, body, pointer):
    response = await post(world, path, body)

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"].startswith(pointer)
    assert not await Run._unscoped.aexists()


async def test_a_filter_on_an_undeclared_field_is_refused(world):
    body = {"query": "x", "filters": {"and": [{"field": "1=1; drop", "op": "eq", "value": "HR"}]}}

    response = await post(world, "retrieval-tools/rules-search/search", body)

    assert response.status_code == 400
    assert "cannot be filtered by" in response.json()["detail"]


async def test_a_filter_keeps_what_it_names(world):
    body = {"query": "holiday telescope kitchen", "filters": {"field": "title", "op": "in", "value": ["Kitchen"]}}

    response = await post(world, "retrieval-tools/rules-search/search", body)

    assert {one["title"] for one in response.json()["results"]} == {"Kitchen"}


async def test_another_workspace_finds_nothing(world):
    stranger = await sync_to_async(MembershipFactory)(role=Role.ADMIN)
    for path, body in (
        ("rag-tools/rules-qa/query", {"question": QUESTION}),
        (f"rag-tools/{world.tool.pk}/query", {"question": QUESTION}),
        ("retrieval-tools/rules-search/search", {"query": "x"}),
        (f"rag-tools/{uuid.uuid4()}/query", {"question": QUESTION}),
    ):
        assert (await post(world, path, body, stranger)).status_code == 404
    assert not await Run._unscoped.aexists()


async def test_no_key_is_401_before_anything_else(world):
    response = await AsyncClient().post("/api/v1/rag-tools/rules-qa/query", "not json", content_type="text/plain")

    assert response.status_code == 401


async def test_every_role_runs_and_a_key_needs_the_scope(world):
    user = await sync_to_async(world.colleague)(Role.USER)

    assert (await post(world, "rag-tools/rules-qa/query", {"question": QUESTION}, user)).status_code == 200
    refused = await post(world, "rag-tools/rules-qa/query", {"question": QUESTION}, user, scopes=[Scope.READ])
    assert refused.status_code == 403


async def test_a_draft_is_for_operators_and_an_unpublished_tool_a_conflict(world):

    await sync_to_async(variant_create_draft)(world.tool, actor=None)
    user = await sync_to_async(world.colleague)(Role.USER)
    await sync_to_async(RagTool.objects.for_workspace(world.tool.workspace_id).get)()
    body = {"question": QUESTION, "variant": 2}

    assert (await post(world, "rag-tools/rules-qa/query", body, user)).status_code == 403
    assert (await post(world, "rag-tools/rules-qa/query", body)).status_code == 200
    assert (await post(world, "rag-tools/rules-qa/query", {**body, "variant": 9})).status_code == 404
    await sync_to_async(world.tool.variants.update)(is_active=False)
    assert (await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})).status_code == 409


async def test_other_peoples_runs_are_not_read_by_viewers(world):
    answer = (await post(world, "rag-tools/rules-qa/query", {"question": QUESTION})).json()
    viewer = await sync_to_async(world.colleague)(Role.VIEWER)
    user = await sync_to_async(world.colleague)(Role.USER)
    url = f"/api/v1/runs/{answer['id']}/"

    async def get(path, member=None):
        return await AsyncClient().get(path, headers=await sync_to_async(world.headers)(member))

    assert (await get(url)).json()["answer"]["content"] == answer["content"]
    assert (await get(url, viewer)).json()["content"] is None
    assert (await get(f"{url}events", viewer)).status_code == 403
    assert (await get(url, user)).status_code == 404
