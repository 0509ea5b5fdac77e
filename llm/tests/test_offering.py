"""What fills the picker: a vendor's list with all that is known of each model."""

import pytest
from django.urls import reverse

from accounts.tests.factories import MembershipFactory
from core.access import Role
from llm.models import Model, Provider
from llm.offering import facts_of
from llm.providers.listing import described
from llm.tests.factories import ModelFactory, ProviderFactory
from llm.tests.test_api import client_as
from llm.tests.vendors import vendor
from magnet.tests.admin_world import signed_in
from magnet.tests.scripted_provider import Exchange
from plugins.contracts import ListedModel

SAID = {
    "openrouter": (
        {
            "name": "Vendor: Model", "context_length": 131072, "architecture": {"input_modalities": ["text", "image"]},
            "supported_parameters": ["tools", "response_format", "temperature"],
        },
        ("chat", "Vendor: Model", 131072),
        {"vision": True, "tool_calling": True, "json_mode": True, "json_schema": False, "reasoning": False},
    ),
    "together": ({"type": "embedding", "context_length": 512}, ("embedding", "", 512), {}),
    "mistral": (
        {"max_context_length": 32768, "capabilities": {"function_calling": True, "vision": False, "fine_tuning": True}},
        ("chat", "", 32768),
        {"tool_calling": True, "vision": False},
    ),
    "groq": ({"context_window": 8192}, ("chat", "", 8192), {}),
    "vllm": ({"max_model_len": 4096, "root": "/models/x"}, ("chat", "", 4096), {}),
    "fireworks": ({"supports_tools": False}, ("chat", "", None), {"tool_calling": False}),
    "odd": (
        {"context_length": "many", "capabilities": "all", "supported_parameters": {}, "name": 7, "type": []},
        ("chat", "", None),
        {},
    ),
    "too much": ({"context_length": 10**12, "max_model_len": True}, ("chat", "", None), {}),
}  # fmt: skip


@pytest.mark.parametrize("server", SAID)
def test_what_servers_of_openais_protocol_say_besides_is_read(server):
    said, (kind, title, limit), able = SAID[server]

    found = described("vendor/model", said)

    assert (found.kind, found.title, found.max_input_tokens) == (kind, title, limit)
    assert found.capabilities == able


def test_the_vendor_goes_before_the_catalogue_and_that_before_the_type():
    listed = ListedModel("gpt-4.1-mini", "chat", capabilities={"vision": False, "flies": True}, max_input_tokens=7)

    assert facts_of(listed, "openai")["vision"] is False
    assert facts_of(listed, "openai")["max_input_tokens"] == 7
    assert "flies" not in facts_of(listed, "openai")
    assert facts_of(ListedModel("gpt-4.1-mini", "chat"), "openai")["vision"] is True
    assert facts_of(ListedModel("some-model", "chat"), "perplexity")["tool_calling"] is False
    assert facts_of(ListedModel("whisper-1", ""), "openai") == {}


ROWS = [
    {"id": "big-chat", "object": "model", "context_length": 65536, "capabilities": {"vision": True}},
    {"id": "text-embedding-3-small", "object": "model"},
    {"id": "whisper-1", "object": "model"},
]


async def _lists(exchange: Exchange) -> None:
    await exchange.json(200, {"object": "list", "data": ROWS})


async def _lists_without_an_object(exchange: Exchange) -> None:
    await exchange.json(200, ROWS)


NO_LISTS: dict[str, object] = {
    "nothing": {"models": ROWS},
    "an object": {"data": {"models": ROWS}},
    "names": {"data": ["big-chat", "whisper-1"]},
    "a text": "big-chat",
}


def _lists_nothing_of_the_kind(answer: object):
    async def tell(exchange: Exchange) -> None:
        await exchange.json(200, answer)

    return tell


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", NO_LISTS.values(), ids=NO_LISTS)
def test_an_answer_that_is_no_list_is_said_to_be_none(settings, answer):
    workspace = MembershipFactory().workspace
    with vendor(_lists_nothing_of_the_kind(answer), settings) as server:
        ProviderFactory(workspace=workspace, slug="odd", base_url=server.url, api_key="sk-0123456789")
        answer = client_as(Role.OPERATOR, workspace).post("/api/v1/providers/odd/available-models")

    assert answer.status_code == 502
    assert "no answer" in answer.json()["detail"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answering", [_lists, _lists_without_an_object])
def test_the_api_lists_models_with_all_that_is_known(settings, answering):
    workspace = MembershipFactory().workspace
    with vendor(answering, settings) as server:
        provider = ProviderFactory(workspace=workspace, slug="lists", base_url=server.url, api_key="sk-0123456789")
        ModelFactory(provider=provider, slug="mine", identifier="big-chat")
        elsewhere = ProviderFactory()
        ModelFactory(provider=elsewhere, slug="theirs", identifier="whisper-1")

        answer = client_as(Role.OPERATOR, workspace).post("/api/v1/providers/lists/available-models")

    chat, embedding, other = answer.json()["results"]
    assert chat == {
        "identifier": "big-chat", "kind": "chat", "title": "", "max_input_tokens": 65536, "dimensions": None,
        "capabilities": {"vision": True}, "model": "mine",
    }  # fmt: skip
    assert (embedding["kind"], embedding["dimensions"], embedding["max_input_tokens"]) == ("embedding", 1536, 8191)
    assert (other["kind"], other["model"], other["capabilities"]) == ("", "", {})


@pytest.mark.django_db
def test_local_models_are_listed_as_any_vendors():
    workspace = MembershipFactory().workspace
    ProviderFactory(workspace=workspace, slug="here", type="local")

    answer = client_as(Role.OPERATOR, workspace).post("/api/v1/providers/here/available-models")

    kinds = {one["identifier"]: (one["kind"], one["max_input_tokens"]) for one in answer.json()["results"]}
    assert kinds == {"all-minilm-l6-v2": ("embedding", 256), "extractive": ("chat", None)}


# --- the form


@pytest.fixture
def provider(db) -> Provider:
    return ProviderFactory(workspace=MembershipFactory(role=Role.OPERATOR).workspace, type="perplexity")


def posted(provider: Provider, **values):
    client = signed_in(MembershipFactory(workspace=provider.workspace, role=Role.OPERATOR).user)
    given = {
        "name": "New", "slug": "new", "provider": provider.pk, "kind": "chat", "identifier": "sonar-new",
        "timeout_seconds": 60, "is_active": "on",
    }  # fmt: skip
    answer = client.post(reverse("admin:llm_model_add"), {**given, **values})
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    return Model.objects.for_workspace(provider.workspace_id).get(slug="new")


def test_what_the_form_leaves_open_is_taken_from_what_is_known(provider):
    model = posted(provider, json_mode="unknown", tool_calling="unknown")

    assert (model.tool_calling, model.json_mode, model.streaming, model.vision) == (False, False, True, False)
    assert model.max_input_tokens == 8000


def test_what_the_form_says_holds(provider):
    model = posted(provider, tool_calling="true", streaming="false", vision="unknown", max_input_tokens="128000")

    assert (model.tool_calling, model.streaming, model.vision) == (True, False, False)
    assert model.max_input_tokens == 128000


def test_a_model_of_the_catalogue_gets_its_limit(provider):
    provider.type = "openai"
    provider.save()

    assert posted(provider, identifier="gpt-4.1-mini").max_input_tokens == 1_000_000
