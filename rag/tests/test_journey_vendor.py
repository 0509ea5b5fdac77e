"""With a key in the environment before the first start, the vendor's models answer: over real HTTP, end to end."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import CommandError, call_command

from accounts.tests.factories import MembershipFactory, principal_of
from core.access import Role
from core.variant_services import variant_create_draft, variant_publish
from knowledge.ingesting import document_ingest
from knowledge.services import Upload, document_upload, source_create
from llm.choices import ModelKind
from llm.models import Model
from llm.seeds import seed_workspace as seed_models
from prompts.models import PromptTemplate
from prompts.seeds import seed_workspace as seed_prompts
from rag.services import rag_tool_create, retrieval_tool_create
from rag.tests.conftest import KITCHEN, LEAVE, World
from rag.tests.test_api_runs import events_of, post

QUESTION = "How many days of holiday do employees have?"


def configure(settings, scripted, tmp_path) -> World:
    settings.STORAGE_DIR = tmp_path
    settings.OPENAI_API_KEY = "sk-sentinel"
    settings.OPENAI_BASE_URL = scripted.url
    settings.OPENAI_CHAT_MODEL = "cites"
    settings.OPENAI_EMBEDDING_MODEL = "embed"
    member = MembershipFactory(role=Role.OPERATOR, workspace__slug="default")
    seed_models(member.workspace_id)
    seed_prompts(member.workspace_id)
    principal = principal_of(member)
    source = source_create(principal=principal, values={"name": "Rules", "slug": "rules"})
    documents = {}
    for title, text in (("Holiday", LEAVE), ("Kitchen", KITCHEN)):
        document, job = document_upload(principal=principal, source=source, upload=Upload(text, title=title))
        document_ingest(job.pk)
        document.refresh_from_db()
        documents[title] = document
    search = retrieval_tool_create(
        principal=principal, values={"name": "S", "slug": "rules-search"}, variant={"sources": [source]}
    )
    variant_publish(search.variants.get(), actor=None)
    prompt = PromptTemplate.objects.for_workspace(member.workspace_id).get(slug="rag-answer")
    tool = rag_tool_create(
        principal=principal,
        values={"name": "Q", "slug": "rules-qa"},
        variant={"retrieval_tool": search, "prompt": prompt},
    )
    variant_publish(tool.variants.get(), actor=None)
    return World(member, source, search, tool, documents)


@pytest.fixture
def vendor(transactional_db, settings, scripted, tmp_path) -> World:
    return configure(settings, scripted, tmp_path)


async def answer_with(world: World, identifier: str) -> None:
    """Let the published RAG tool use another of the scripted models."""
    await sync_to_async(
        Model.objects.for_workspace(world.member.workspace_id)
        .filter(kind=ModelKind.CHAT)
        .exclude(identifier="extractive")
        .update
    )(identifier=identifier)


async def test_the_vendors_models_are_the_defaults_and_answer_with_checked_citations(vendor, scripted):
    answer = (await post(vendor, "rag-tools/rules-qa/query", {"question": QUESTION})).json()

    assert vendor.documents["Holiday"].status == "ready"
    assert answer["status"] == "completed"
    assert answer["model"] == "cites-2026"
    assert answer["usage"]["estimated"] is False
    assert [one["marker"] for one in answer["citations"]] == [1]
    sent = scripted.calls_of("cites")[0].body["messages"]
    assert sent[0]["role"] == "system"
    assert "[1] " in sent[-1]["content"]
    assert sent[-1]["content"].endswith(f"Question: {QUESTION}")


async def test_a_stream_that_breaks_off_is_incomplete_and_keeps_its_text(vendor):
    await answer_with(vendor, "cut")

    told = await events_of(await post(vendor, "rag-tools/rules-qa/query", {"question": QUESTION, "stream": True}))

    answer = told[-1][2]["answer"]
    assert told[-1][1] == "run.completed"
    assert (answer["status"], answer["finish_reason"]) == ("incomplete", "provider_cut")
    assert answer["content"]
    assert answer["usage"]["estimated"] is True


async def test_a_refused_key_is_one_clear_problem_without_the_key(vendor):
    await answer_with(vendor, "unauthorized")

    response = await post(vendor, "rag-tools/rules-qa/query", {"question": QUESTION})

    assert response.status_code == 502
    assert "refuses the API key" in response.json()["detail"]
    assert "sk-sentinel" not in response.content.decode()


async def test_a_failure_in_a_stream_is_an_event_and_never_answer_text(vendor):
    await answer_with(vendor, "unauthorized")

    told = await events_of(await post(vendor, "rag-tools/rules-qa/query", {"question": QUESTION, "stream": True}))

    assert told[-1][1] == "run.failed"
    assert told[-1][2]["problem"]["status"] == 502
    assert not [data for _, name, data in told if name == "message.delta"]


async def test_with_embeddings_down_words_answer_and_the_answer_says_so(vendor):
    await sync_to_async(Model.objects.for_workspace(vendor.member.workspace_id).filter(identifier="embed").update)(
        identifier="unauthorized"
    )

    found = (await post(vendor, "retrieval-tools/rules-search/search", {"query": "holiday days"})).json()

    assert found["degraded"] == ["dense"]
    assert found["results"][0]["document_id"] == str(vendor.documents["Holiday"].pk)
    assert found["results"][0]["dense_rank"] is None


async def test_dense_search_alone_fails_when_embeddings_are_down(vendor):
    await sync_to_async(Model.objects.for_workspace(vendor.member.workspace_id).filter(identifier="embed").update)(
        identifier="unauthorized"
    )
    draft = await sync_to_async(variant_create_draft)(vendor.search, actor=None, values={"mode": "dense"})
    await sync_to_async(variant_publish)(draft, actor=None)

    response = await post(vendor, "retrieval-tools/rules-search/search", {"query": "holiday days"})

    assert response.status_code == 502


async def test_neighbours_reach_the_model_as_one_passage(vendor, scripted):
    draft = await sync_to_async(variant_create_draft)(vendor.search, actor=None, values={"neighbours": 1})
    await sync_to_async(variant_publish)(draft, actor=None)

    answer = (await post(vendor, "rag-tools/rules-qa/query", {"question": QUESTION})).json()

    assert answer["status"] == "completed"
    assert LEAVE in scripted.calls_of("cites")[-1].body["messages"][-1]["content"]


def test_in_the_terminal_a_vendor_that_fails_is_an_error_not_an_answer(vendor, capsys):
    async_to_sync(answer_with)(vendor, "unauthorized")

    with pytest.raises(CommandError) as refused:
        call_command("ask", "rules-qa", QUESTION, "--user", vendor.member.user.email)

    assert "sk-sentinel" not in str(refused.value)
    assert "key" in str(refused.value)
    assert capsys.readouterr().out == ""
