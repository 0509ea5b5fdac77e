"""All types that speak OpenAI's protocol, each with its differences; rerankers; and the parts that they share."""

import base64
from datetime import UTC, datetime

import pytest

from core.exceptions import Conflict, UpstreamError
from llm import client
from llm.choices import ModelKind
from llm.providers.bedrock.eventstream import messages
from llm.providers.bedrock.signing import Signer
from llm.providers.failures import REDACTED, scrubbed, status_failure
from llm.providers.http import event_data
from llm.providers.presets import OPENAI_PROTOCOL, PRESETS
from llm.providers.registry import connect, connect_row
from llm.tests.conftest import KEY
from llm.tests.vendors import model_at, vendor
from magnet.tests.scripted_answers import ANSWER
from magnet.tests.scripted_tools import ARGUMENTS
from magnet.tests.scripted_vendors import frame, rankers
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    EmbeddingPurpose,
    FinishReason,
    Image,
    MessageRole,
    OutputFormat,
    ProviderFailure,
    ReasoningEffort,
    ToolCall,
    ToolMode,
    ToolSpec,
)

DELETE = ToolSpec("delete", "Deletes a folder.", {"type": "object"})
SCHEMA = {"type": "object", "properties": {"days": {"type": "integer"}}}
QUESTION = ChatMessage(MessageRole.USER, "Tidy up.")


def asked(*more: ChatMessage, **settings) -> ChatRequest:
    return ChatRequest("", (QUESTION, *more), **settings)


def at(model_of, type: str, identifier: str, **fields):
    """A model of the scripted provider, as one of this type."""
    model = model_of(identifier, **fields)
    model.provider.type = type
    model.provider.version += 1  # no connection of another type is used again
    if type == "azure_openai":
        model.provider.base_url = model.provider.base_url.removesuffix("/v1")
    return model


async def answered(model, request: ChatRequest):
    deltas = [delta async for delta in client.stream_chat(model, request)]
    return "".join(delta.text for delta in deltas), deltas[-1]


@pytest.mark.parametrize("type", OPENAI_PROTOCOL)
async def test_each_type_calls_tools_and_counts(model_of, type, scripted):
    model = at(model_of, type, "calls-tool")
    text, last = await answered(model, asked(tools=(DELETE,), max_tokens=99, seed=7, tool_choice=ToolMode.REQUIRED))

    assert text == "I look it up."
    assert last.tool_calls == (ToolCall("call_1", "delete", ARGUMENTS),)
    body = scripted.calls[0].body
    quirks = PRESETS[type].quirks
    assert body[quirks.max_tokens] == 99
    assert body[quirks.seed] == 7
    assert body["tool_choice"] == quirks.any_tool
    assert ("stream_options" in body) is quirks.stream_options
    # Where usage comes unasked or not at all, the scripted server sends none.
    assert last.usage.estimated is not quirks.stream_options


@pytest.mark.parametrize("type", OPENAI_PROTOCOL)
async def test_each_type_keeps_a_cut_text(model_of, type, scripted):
    text, last = await answered(at(model_of, type, "cut"), asked())

    assert (text, last.finish_reason) == ("Half an answer", FinishReason.PROVIDER_CUT)


async def test_azure_is_called_by_deployment_and_version(model_of, scripted):
    model = at(model_of, "azure_openai", "ok")
    await answered(model, asked())
    model.provider.api_version = "2025-01-01-preview"
    model.provider.version += 1
    await answered(model, asked())
    embedding = at(model_of, "azure_openai", "embed", dimensions=32)
    await client.embed(embedding, ["one"], purpose=EmbeddingPurpose.QUERY)

    assert [call.path for call in scripted.calls] == [
        "/openai/deployments/ok/chat/completions?api-version=2024-10-21",
        "/openai/deployments/ok/chat/completions?api-version=2025-01-01-preview",
        "/openai/deployments/embed/embeddings?api-version=2025-01-01-preview",
    ]
    assert scripted.calls[0].headers["api-key"] == KEY


async def test_the_environments_azure_credentials_do_not_leak(model_of, scripted, monkeypatch):
    for name in ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN", "OPENAI_ORG_ID"):
        monkeypatch.setenv(name, "environments-own")
    model = at(model_of, "azure_openai", "ok")
    model.provider.api_key = ""

    await answered(model, asked())

    assert not any("environments-own" in value for value in scripted.calls[0].headers.values())


async def test_mistrals_ids_of_calls_are_nine_letters(model_of, scripted):
    turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=(ToolCall("call_of_another_vendor", "delete", "{}"),))
    result = ChatMessage(MessageRole.TOOL, "gone", tool_call_id="call_of_another_vendor")

    await answered(at(model_of, "mistral", "calls-tool"), asked(turn, result, tools=(DELETE,)))

    sent = scripted.calls[0].body["messages"]
    assert len(sent[1]["tool_calls"][0]["id"]) == 9
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"]


async def test_openais_reasoning_models_get_no_sampling(model_of, scripted):
    with pytest.raises(UpstreamError):  # the scripted server has no such model
        await answered(model_of("o4-mini"), asked(temperature=0.5, top_p=0.9, max_tokens=99))

    body = scripted.calls[0].body
    assert not {"temperature", "top_p", "max_tokens"} & body.keys()
    assert body["max_completion_tokens"] == 99


async def test_thoughts_are_no_part_of_the_answer(model_of, scripted):
    deltas = [delta async for delta in client.stream_chat(model_of("thinks-aloud"), asked())]

    assert "".join(delta.reasoning for delta in deltas) == "Hm. Well."
    assert "".join(delta.text for delta in deltas) == ANSWER


@pytest.mark.parametrize("type", ["openai", "vllm", "together", "litellm"])
async def test_servers_of_the_protocol_score_documents(model_of, type, scripted):
    model = at(model_of, type, "rerank", kind=ModelKind.RERANK)

    scores = await client.rerank(model, "annual leave", ["rain", "annual leave"], top_n=1)

    assert [(one.index, one.score) for one in scores] == [(1, 1.0)]


async def test_rankings_that_make_no_sense_are_refused(model_of, scripted):
    with pytest.raises(UpstreamError, match="not sent"):
        await client.rerank(model_of("rerank-elsewhere", kind=ModelKind.RERANK), "leave", ["rain"])
    with pytest.raises(UpstreamError, match="has no rerank models"):
        await client.rerank(at(model_of, "groq", "rerank", kind=ModelKind.RERANK), "leave", ["rain"])


RANKERS = {"jina": "jina-reranker-v2", "voyage": "voyage-rerank", "tei": "bge-reranker"}


@pytest.mark.parametrize("type", RANKERS)
async def test_rerankers_score_and_embed(type, settings):
    with vendor(rankers, settings) as server:
        model = model_at(server, type, RANKERS[type], kind=ModelKind.RERANK)
        scores = await client.rerank(model, "annual leave", ["rain", "annual leave", "leave"], top_n=2)
        embedding = model_at(server, type, "jina-embeddings-v3", kind=ModelKind.EMBEDDING, dimensions=8)
        vectors = await client.embed(embedding, ["one", "two"], purpose=EmbeddingPurpose.QUERY)

    assert [(one.index, one.score) for one in scores] == [(1, 1.0), (2, 0.5)]
    assert vectors.shape == (2, 8)


async def test_tei_says_which_model_it_serves(settings):
    with vendor(rankers, settings) as server:
        provider = connect_row(model_at(server, "tei", "x").provider, 5)
        listed = await provider.list_models()
        await provider.close()

    assert [(one.identifier, one.kind) for one in listed] == [("BAAI/bge-reranker-v2-m3", "rerank")]


async def test_a_list_is_sorted_by_kind_and_some_have_none(model_of, scripted):
    provider = connect(model_of("ok"))
    kinds = {one.identifier: one.kind for one in await provider.list_models()}
    await provider.close()
    perplexity = connect(at(model_of, "perplexity", "ok"))
    with pytest.raises(ProviderFailure, match="does not list"):
        await perplexity.list_models()
    await perplexity.close()

    assert (kinds["ok"], kinds["embed"], kinds["rerank"]) == ("chat", "embedding", "rerank")


# --- what a model cannot do


async def test_a_server_that_does_not_stream_is_asked_for_the_whole(model_of, scripted):
    model = model_of("whole", streaming=False)
    deltas = [delta async for delta in client.stream_chat(model, asked())]
    _, called = await answered(model_of("whole-call", streaming=False), asked(tools=(DELETE,)))

    assert [delta.text for delta in deltas] == [ANSWER, ""]
    assert deltas[-1].finish_reason is FinishReason.STOP
    assert not deltas[-1].usage.estimated
    assert called.tool_calls[0].parsed() == {"n": 1}
    assert scripted.calls[0].body["stream"] is False
    assert "stream_options" not in scripted.calls[0].body


async def test_tools_and_pictures_are_refused_by_name(model_of, scripted):
    with pytest.raises(Conflict, match="'ok' cannot call tools"):
        await answered(model_of("ok", tool_calling=False), asked(tools=(DELETE,)))
    seen = ChatMessage(MessageRole.USER, "Look.", images=(Image(b"x", "image/png"),))
    with pytest.raises(Conflict, match="'ok' cannot see pictures"):
        await answered(model_of("ok"), ChatRequest("", (seen,)))

    assert scripted.calls == []


@pytest.mark.parametrize(
    "able, output, format, told",
    [
        ({}, OutputFormat(SCHEMA), "json_schema", ""),
        ({"json_schema": False}, OutputFormat(SCHEMA), "json_object", "JSON Schema"),
        ({"json_schema": False}, OutputFormat({"type": "array"}), None, "JSON Schema"),
        ({"json_schema": False, "json_mode": False}, OutputFormat(SCHEMA), None, "JSON Schema"),
        ({}, OutputFormat(), "json_object", "one JSON object alone"),
        ({"json_mode": False}, OutputFormat(), None, "one JSON object alone"),
    ],
)
async def test_json_is_asked_for_as_the_model_can(model_of, scripted, able, output, format, told):
    await answered(model_of("ok", **able), asked(output=output))

    body = scripted.calls[0].body
    assert body.get("response_format", {}).get("type") == format
    system = [one["content"] for one in body["messages"] if one["role"] == "system"]
    assert [told in text for text in system] == ([True] if told else [])


async def test_effort_is_asked_of_models_that_reason(model_of, scripted):
    await answered(model_of("ok"), asked(reasoning_effort=ReasoningEffort.HIGH))
    await answered(model_of("ok", reasoning=True), asked(reasoning_effort=ReasoningEffort.HIGH))

    assert [call.body.get("reasoning_effort") for call in scripted.calls] == [None, "high"]


# --- what they share

SECRET = "my-own-secret/with+signs=0123"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {SECRET}.",
        f"header Authorization: Bearer {SECRET}",
        f"basic {base64.b64encode(SECRET.encode()).decode()}",
        "url ?key=my-own-secret%2Fwith%2Bsigns%3D0123",
        f"first half {SECRET[:14]} and last {SECRET[14:]}",
        "somebody else's sk-proj-abc***xyz or AIzaSyA1234567890 or eyJhbGciOi.eyJpc3Mi.c2ln",
    ],
)
def test_what_a_vendor_says_is_shown_without_credentials(text):
    shown = scrubbed(text, [SECRET])

    assert REDACTED in shown
    assert not any(part in shown for part in (SECRET, SECRET[:14], "sk-proj", "AIza", "eyJ", "0123", "bXktb3du"))


def test_the_vendors_sentence_is_found_in_its_answer():
    bodies = [
        {"error": {"message": "No such model."}},
        '{"message": "No such model."}',
        b'[{"error": {"message": "No such model."}}]',
        {"detail": "No such model."},
        "No\nsuch model.",
    ]

    assert {status_failure(404, body).vendor_message for body in bodies} == {"No such model."}
    assert status_failure(502, "<html>proxy</html>").vendor_message == ""
    assert len(status_failure(400, "word " * 500).vendor_message) < 510


async def test_events_come_in_any_pieces_and_a_cut_one_is_none():
    data = 'event: x\r\ndata: {"a": "é"}\r\n\r\n: note\r\n\r\ndata: two\ndata: lines\n\ndata: cut'.encode()

    async def single_bytes():
        for n in range(len(data)):
            yield data[n : n + 1]

    assert [one async for one in event_data(single_bytes())] == ['{"a": "é"}', "two\nlines"]


async def test_a_damaged_message_of_aws_is_refused():
    good = frame(b"{}", **{":event-type": "messageStop"})

    async def sent(data: bytes):
        yield data

    assert [one.headers async for one in messages(sent(good * 2))] == [{":event-type": "messageStop"}] * 2
    for place in (3, 9, 20, len(good) - 1):
        broken = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
        with pytest.raises(ProviderFailure, match="damaged"):
            assert [one async for one in messages(sent(broken))] == []


def test_aws_signature_is_that_of_its_own_test_suite():
    """`get-vanilla` of the Signature Version 4 test suite."""
    signer = Signer("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "service")

    headers = signer.headers("GET", "https://example.amazonaws.com/", b"", datetime(2015, 8, 30, 12, 36, tzinfo=UTC))

    assert headers["Authorization"].endswith(
        "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    )
