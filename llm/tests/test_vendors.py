"""Each vendor's own protocol over HTTP: text, tools, usage, and all that may break off. The servers are scripted."""

import json

import pytest

from core.exceptions import UpstreamError
from llm import client
from llm.choices import ModelKind
from llm.exceptions import ToolCallsBroken
from llm.providers.registry import connect, connect_row
from llm.tests.vendors import AWS_SECRET, KEY, model_at, vendor
from magnet.tests.scripted_answers import ANSWER
from magnet.tests.scripted_vendors import ARGUMENTS, HALF, VENDORS
from plugins.contracts import (
    ChatMessage,
    ChatRequest,
    EmbeddingPurpose,
    FinishReason,
    Image,
    MessageRole,
    NamedTool,
    OutputFormat,
    ProviderFailure,
    ReasoningEffort,
    TokenUsage,
    ToolMode,
    ToolSpec,
)

DELETE = ToolSpec("delete", "Deletes a folder.", {"type": "object", "properties": {"path": {"type": "string"}}})
SYSTEM = ChatMessage(MessageRole.SYSTEM, "Be brief.")
QUESTION = ChatMessage(MessageRole.USER, "Tidy up.")
USAGE = {
    "anthropic": TokenUsage(10, 7, 3),
    "google": TokenUsage(10, 7, 3, 2),
    "cohere": TokenUsage(10, 7, 3),
    "bedrock": TokenUsage(10, 7, 3),
}
REPLIED = {"anthropic": "ok-2026", "google": "ok-2026", "cohere": "ok", "bedrock": "ok"}


@pytest.fixture(params=sorted(VENDORS))
def server(request, settings):
    with vendor(VENDORS[request.param], settings) as running:
        running.type = request.param
        yield running


def asked(*more: ChatMessage, **settings) -> ChatRequest:
    return ChatRequest("", (SYSTEM, QUESTION, *more), **settings)


async def answered(model, request: ChatRequest):
    deltas = [delta async for delta in client.stream_chat(model, request)]
    assert all(delta.finish_reason is None and not delta.tool_calls for delta in deltas[:-1])
    return "".join(delta.text for delta in deltas), deltas[-1]


# --- what all of them do


async def test_a_text_streams_with_reason_usage_and_model(server):
    model = model_at(server, server.type, "ok")

    deltas = [delta async for delta in client.stream_chat(model, asked(temperature=0.5, max_tokens=99))]

    assert "".join(delta.text for delta in deltas) == ANSWER
    assert len(deltas) > 3
    assert deltas[-1].finish_reason is FinishReason.STOP
    assert deltas[-1].usage == USAGE[server.type]
    assert deltas[-1].model == REPLIED[server.type]
    assert "Be brief." in json.dumps(server.calls[0].body)


async def test_a_tool_is_called_and_its_result_goes_back(server):
    model = model_at(server, server.type, "tools")
    _, last = await answered(model, asked(tools=(DELETE,)))

    assert last.finish_reason is FinishReason.TOOL_CALLS
    assert [(call.name, call.parsed()) for call in last.tool_calls] == [("delete", ARGUMENTS)]
    assert last.usage == USAGE[server.type]
    turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls, continuation=last.continuation)
    result = ChatMessage(MessageRole.TOOL, "gone", tool_call_id=last.tool_calls[0].id)
    text, last = await answered(model, asked(turn, result, tools=(DELETE,)))
    assert (text, last.tool_calls) == (ANSWER, ())
    assert "gone" in json.dumps(server.calls[1].body)


async def test_a_cut_text_is_kept_and_marked(server):
    text, last = await answered(model_at(server, server.type, "cut"), asked())

    assert (text, last.finish_reason) == (HALF, FinishReason.PROVIDER_CUT)
    assert last.usage is not None
    assert last.usage.estimated


async def test_a_cut_call_is_no_call(server, monkeypatch):
    monkeypatch.setattr("llm.retries.FIRST_PAUSE_SECONDS", 0.01)  # nothing was said, so it is tried again

    with pytest.raises(Exception, match="broke off"):
        await answered(model_at(server, server.type, "cut-call"), asked(tools=(DELETE,)))


async def test_a_call_at_full_length_is_no_call(server):
    with pytest.raises(ToolCallsBroken, match="at its longest length") as caught:
        await answered(model_at(server, server.type, "length-call"), asked(tools=(DELETE,)))

    assert caught.value.usage == USAGE[server.type]
    assert len(server.calls) == 1


async def test_a_key_that_is_echoed_goes_nowhere(server):
    model = model_at(server, server.type, "echo-key", provider={"headers": {"X-Team": "team-secret-0123456789"}})

    with pytest.raises(UpstreamError, match=r"refuses the API key \(HTTP 401\)") as caught:
        await answered(model, asked())

    assert not any(part in str(caught.value) for part in (KEY, AWS_SECRET, "Bearer", "sk-"))
    provider = connect(model)
    with pytest.raises(ProviderFailure) as raw:
        [delta async for delta in provider.stream_chat(ChatRequest("echo-key", (QUESTION,)))]
    await provider.close()
    assert raw.value.status == 401
    assert raw.value.vendor_message.startswith("Incorrect API key provided")
    assert not any(part in raw.value.vendor_message for part in (KEY, KEY[3:], AWS_SECRET, "Signature="))
    assert server.calls[0].headers["x-team"] == "team-secret-0123456789"


async def test_models_are_listed_with_their_kind(server):
    provider = connect_row(model_at(server, server.type, "ok").provider, 5)

    listed = await provider.list_models()
    await provider.close()

    assert listed[0].kind == "chat"
    assert listed[0].identifier.startswith(("claude", "gemini", "command", "anthropic.claude"))


EMBEDDERS = {
    "google": ("embed-test", True),
    "cohere": ("embed-v4.0", False),
    "bedrock": ("amazon.titan-embed-text-v2:0", False),
}


@pytest.mark.parametrize("type", EMBEDDERS)
async def test_texts_become_vectors_in_their_order(type, settings):
    identifier, estimated = EMBEDDERS[type]
    with vendor(VENDORS[type], settings) as server:
        model = model_at(server, type, identifier, kind=ModelKind.EMBEDDING, dimensions=8)
        vectors = await client.embed(model, ["one", "two words", "one"], purpose=EmbeddingPurpose.PASSAGE)
        provider = connect(model)
        from plugins.contracts import EmbeddingRequest

        answer = await provider.embed(EmbeddingRequest(identifier, ("one",), EmbeddingPurpose.QUERY, 8))
        await provider.close()

    assert vectors.shape == (3, 8)
    assert (vectors[0] == vectors[2]).all()
    assert not (vectors[0] == vectors[1]).all()
    assert answer.usage.estimated is estimated


RERANKERS = {"cohere": "rerank-v3.5", "bedrock": "cohere.rerank-v3-5:0"}


@pytest.mark.parametrize("type", RERANKERS)
async def test_documents_are_scored(type, settings):
    with vendor(VENDORS[type], settings) as server:
        model = model_at(server, type, RERANKERS[type], kind=ModelKind.RERANK)
        scores = await client.rerank(model, "annual leave", ["rain", "annual leave", "leave"], top_n=2)

    assert [one.index for one in scores] == [1, 2]
    assert scores[0].score == 1.0


# --- Anthropic


async def test_anthropic_gets_the_request_in_its_words(settings):
    picture = ChatMessage(MessageRole.USER, "What is it?", images=(Image(b"\x89PNG", "image/png"),))
    request = asked(picture, tools=(DELETE,), tool_choice=ToolMode.REQUIRED, stop=("END",), temperature=0.1, top_p=0.9)
    with vendor(VENDORS["anthropic"], settings) as server:
        await answered(model_at(server, "anthropic", "ok", vision=True), request)

    body, headers = server.calls[0].body, server.calls[0].headers
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers
    assert body == {
        "model": "ok",
        "max_tokens": 4096,
        "stream": True,
        "system": "Be brief.",
        "temperature": 0.1,
        "stop_sequences": ["END"],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Tidy up."},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
                    },
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
        "tools": [{"name": "delete", "description": "Deletes a folder.", "input_schema": dict(DELETE.parameters)}],
        "tool_choice": {"type": "any"},
    }


async def test_anthropics_signed_thoughts_go_back_before_their_calls(settings):
    with vendor(VENDORS["anthropic"], settings) as server:
        model = model_at(server, "anthropic", "thinks", reasoning=True)
        asking = asked(tools=(DELETE,), reasoning_effort=ReasoningEffort.HIGH, temperature=0.5)
        deltas = [delta async for delta in client.stream_chat(model, asking)]
        last = deltas[-1]
        turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls, continuation=last.continuation)
        await answered(model, asked(turn, ChatMessage(MessageRole.TOOL, "gone", tool_call_id="toolu_1")))

    assert [delta.reasoning for delta in deltas if delta.reasoning] == ["Hm."]
    assert server.calls[1].body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "tool_use", "id": "toolu_1", "name": "delete", "input": ARGUMENTS},
    ]
    first = server.calls[0].body
    assert first["thinking"] == {"type": "adaptive"}
    assert first["output_config"] == {"effort": "high"}
    assert "temperature" not in first


async def test_anthropics_older_models_think_by_a_budget(settings):
    with vendor(VENDORS["anthropic"], settings) as server:
        for name in ("claude-sonnet-4-5-20250929", "claude-3-7-sonnet-latest", "claude-opus-4-20250514"):
            model = model_at(server, "anthropic", name, reasoning=True)
            await answered(model, asked(reasoning_effort=ReasoningEffort.LOW, max_tokens=100))

    assert [call.body["thinking"]["budget_tokens"] for call in server.calls] == [2048] * 3
    assert server.calls[0].body["max_tokens"] == 3072


async def test_a_tool_of_anthropic_without_parameters_has_an_empty_object(settings):
    with vendor(VENDORS["anthropic"], settings) as server:
        _, last = await answered(model_at(server, "anthropic", "no-input"), asked(tools=(DELETE,)))

    assert last.tool_calls[0].arguments == "{}"


async def test_an_overload_in_anthropics_stream_is_tried_again(settings):
    with vendor(VENDORS["anthropic"], settings) as server:
        text, _ = await answered(model_at(server, "anthropic", "overloaded-first"), asked())

    assert text == ANSWER
    assert len(server.calls) == 2


# --- Google


async def test_google_gets_the_request_in_its_words(settings):
    schema = {"type": "object", "properties": {"days": {"type": "integer"}}}
    request = asked(
        tools=(DELETE,), tool_choice=NamedTool("delete"), seed=7, max_tokens=99, output=OutputFormat(schema)
    )
    with vendor(VENDORS["google"], settings) as server:
        await answered(model_at(server, "google", "ok"), request)

    call = server.calls[0]
    assert call.path == "/models/ok:streamGenerateContent?alt=sse"
    assert call.headers["x-goog-api-key"] == KEY
    assert call.body == {
        "contents": [{"role": "user", "parts": [{"text": "Tidy up."}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {
            "maxOutputTokens": 99,
            "seed": 7,
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
        },
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "delete",
                        "description": "Deletes a folder.",
                        "parametersJsonSchema": dict(DELETE.parameters),
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["delete"]}},
    }


async def test_googles_signatures_go_back_with_their_calls(settings):
    with vendor(VENDORS["google"], settings) as server:
        model = model_at(server, "google", "gemini-3-tools")
        _, last = await answered(model, asked(tools=(DELETE,)))
        turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls, continuation=last.continuation)
        result = ChatMessage(MessageRole.TOOL, '{"ok": true}', tool_call_id=last.tool_calls[0].id)
        await answered(model, asked(turn, result))
        unsigned = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls)
        await answered(model, asked(unsigned, result))

    call = {"functionCall": {"name": "delete", "args": ARGUMENTS}}
    assert server.calls[1].body["contents"][1:] == [
        {"role": "model", "parts": [{**call, "thoughtSignature": "sig"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "delete", "response": {"ok": True}}}]},
    ]
    signature = server.calls[2].body["contents"][1]["parts"][0]["thoughtSignature"]
    assert signature == "skip_thought_signature_validator"


async def test_what_google_blocks_or_garbles_is_said(settings):
    with vendor(VENDORS["google"], settings) as server:
        _, last = await answered(model_at(server, "google", "blocked"), asked())
        with pytest.raises(ToolCallsBroken):
            await answered(model_at(server, "google", "malformed-call"), asked(tools=(DELETE,)))

    assert last.finish_reason is FinishReason.CONTENT_FILTER


def key_file(token_url: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"client_email": "a@b.test", "private_key": pem, "token_uri": token_url})


async def test_vertex_is_called_with_a_token_for_the_service_account(settings):
    with vendor(VENDORS["google"], settings) as server:
        account = {"project": "our-project", "region": "europe-west4", "secret": key_file(f"{server.url}/token")}
        fields = {"provider": {"api_key": "", **account}}
        model = model_at(server, "google", "ok", **fields)
        text, _ = await answered(model, asked())
        await answered(model, asked())
        embedding = model_at(server, "google", "embed-test", kind=ModelKind.EMBEDDING, dimensions=8, **fields)
        vectors = await client.embed(embedding, ["one"], purpose=EmbeddingPurpose.QUERY)

    assert text == ANSWER
    assert vectors.shape == (1, 8)
    token, first, second = server.calls[:3]
    assert token.body["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    where = "/projects/our-project/locations/europe-west4/publishers/google/models/ok:streamGenerateContent?alt=sse"
    assert (first.path, second.path) == (where, where)
    assert first.headers["authorization"] == "Bearer ya29.scripted-token"


async def test_a_key_file_that_is_none_is_refused_without_repeating_it(settings):
    with vendor(VENDORS["google"], settings) as server:
        fields = {"provider": {"project": "our-project", "secret": '{"private_key": "very-secret"}'}}
        with pytest.raises(UpstreamError, match="no key file") as caught:
            await answered(model_at(server, "google", "ok", **fields), asked())

    assert "very-secret" not in str(caught.value)
    assert server.calls == []


# --- Bedrock


async def test_bedrock_is_signed_and_gets_the_request_in_its_words(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        model = model_at(server, "bedrock", "ok")
        await answered(model, asked(tools=(DELETE,), tool_choice=ToolMode.REQUIRED, max_tokens=99))

    call = server.calls[0]
    assert call.path == "/model/ok/converse-stream"
    assert call.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, " in call.headers["authorization"]
    assert AWS_SECRET not in str(call.headers)
    assert call.body == {
        "messages": [{"role": "user", "content": [{"text": "Tidy up."}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 99},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "delete",
                        "description": "Deletes a folder.",
                        "inputSchema": {"json": dict(DELETE.parameters)},
                    }
                }
            ],
            "toolChoice": {"any": {}},
        },
    }


async def test_bedrocks_own_key_is_a_bearer(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        await answered(model_at(server, "bedrock", "ok", provider={"api_key": KEY}), asked())

    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_session_token_is_signed(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        session = {"headers": {"X-Amz-Security-Token": "session-token"}}
        await answered(model_at(server, "bedrock", "ok", provider=session), asked())

    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in server.calls[0].headers["authorization"]


async def test_a_colon_in_bedrocks_identifiers_is_encoded_on_the_way(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        await answered(model_at(server, "bedrock", "anthropic.claude-test-v1:0"), asked())

    assert server.calls[0].path == "/model/anthropic.claude-test-v1%3A0/converse-stream"


async def test_bedrocks_thoughts_go_back_and_tools_without_parameters_work(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        _, last = await answered(model_at(server, "bedrock", "thinks"), asked(tools=(DELETE,)))
        turn = ChatMessage(MessageRole.ASSISTANT, "", tool_calls=last.tool_calls, continuation=last.continuation)
        result = ChatMessage(MessageRole.TOOL, "gone", tool_call_id="tooluse_1")
        await answered(model_at(server, "bedrock", "thinks"), asked(turn, result))
        _, plain = await answered(model_at(server, "bedrock", "no-input"), asked(tools=(DELETE,)))

    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "sig"}}}
    assert server.calls[1].body["messages"][1]["content"][0] == thought
    assert plain.tool_calls[0].arguments == "{}"


async def test_throttling_in_bedrocks_stream_is_tried_again(settings):
    with vendor(VENDORS["bedrock"], settings) as server:
        text, _ = await answered(model_at(server, "bedrock", "throttled-first"), asked())

    assert text == ANSWER
    assert len(server.calls) == 2
