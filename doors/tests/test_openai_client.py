"""The official client against a web process over loopback, unchanged but for its base URL."""

import asyncio
import time

import openai
import pytest
from asgiref.sync import sync_to_async
from pydantic import BaseModel

from core.access import Role, Scope
from magnet.tests.platform import wait_for
from magnet.tests.scripted_answers import ANSWER
from magnet.tests.scripted_tools import ARGUMENTS
from observability.models import Run, Trace, UsageRecord

pytestmark = pytest.mark.django_db
QUESTION = [{"role": "user", "content": "How many days of holiday do employees have?"}]
HELLO = [{"role": "user", "content": "Hello"}]


class Days(BaseModel):
    days: int


def test_chat_completions_answer_for_tools_and_raw_models(door):
    client = door.client()

    cited = client.chat.completions.create(model="rules-qa", messages=QUESTION)
    message = cited.choices[0].message
    assert (cited.object, cited.choices[0].finish_reason, message.role) == ("chat.completion", "stop", "assistant")
    assert "27 days" in message.content
    noted = message.annotations[0]
    span = noted.file_citation
    assert message.content[span["start_index"] : span["end_index"]] == "[1]"
    assert span["file_id"] == str(door.world.documents["Holiday"].pk)
    assert cited.usage.prompt_tokens > 0
    assert cited.usage.total_tokens == cited.usage.prompt_tokens + cited.usage.completion_tokens
    assert client.chat.completions.create(model="rules-qa@1", messages=QUESTION).choices[0].message.content
    assert client.chat.completions.create(model="rag:rules-qa", messages=QUESTION).model == "rag:rules-qa"

    raw = client.chat.completions.create(model="ok", messages=HELLO, temperature=0.5, stop=["x"], seed=7)
    assert raw.choices[0].message.content == ANSWER
    sent = door.provider.calls_of("ok")[-1].body
    assert (sent["temperature"], sent["stop"], sent["seed"]) == (0.5, ["x"], 7)
    assert client.chat.completions.create(model="default-chat", messages=HELLO).choices[0].message.content

    run = Run._unscoped.get(pk=cited.magnet["run_id"])
    assert (run.kind, run.status, cited.id) == ("rag_tool", "completed", f"chatcmpl-{run.pk.hex}")
    raw_run = Run._unscoped.get(pk=raw.magnet["run_id"])
    assert (raw_run.kind, raw_run.target_slug, raw_run.content) == ("model", "ok", ANSWER)
    assert Trace._unscoped.filter(pk=raw.magnet["trace_id"]).exists()
    assert UsageRecord._unscoped.get(run=raw_run).output_tokens == raw.usage.completion_tokens


def test_chat_streams_in_chunks_with_usage_and_annotations(door):
    client = door.client()

    chunks = list(
        client.chat.completions.create(
            model="rules-qa", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert "27 days" in text
    last = chunks[-2].choices[0]
    assert last.finish_reason == "stop"
    assert last.delta.annotations[0]["type"] == "file_citation"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens > 0) == ([], True)
    assert all(one.usage is None for one in chunks[:-1])
    assert len({one.id for one in chunks}) == 1

    with client.chat.completions.stream(model="rules-qa", messages=QUESTION) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content == text
    plain = list(client.chat.completions.create(model="ok", messages=HELLO, stream=True))
    assert all("usage" not in one.model_fields_set for one in plain)


async def test_the_async_client_streams_too(door):
    client = await sync_to_async(door.async_client)()

    answer = await client.chat.completions.create(model="rules-qa", messages=QUESTION)
    stream = await client.chat.completions.create(model="rules-qa", messages=QUESTION, stream=True)
    text = "".join([one.choices[0].delta.content or "" async for one in stream])
    assert text == answer.choices[0].message.content
    async with client.responses.stream(model="rules-qa", input="How many days of holiday?") as events:
        kinds = [event.type async for event in events]
        final = await events.get_final_response()
    assert kinds[0] == "response.created"
    assert final.status == "completed"
    await client.close()


def test_responses_answer_and_stream(door):
    client = door.client()

    whole = client.responses.create(model="rules-qa", input=QUESTION, instructions="Talk like a pirate.")
    assert (whole.status, whole.object, whole.error) == ("completed", "response", None)
    noted = whole.output[0].content[0].annotations[0]
    assert noted.type == "file_citation"
    assert whole.output_text[noted.index : noted.index + 3] == "[1]"
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens

    events = list(client.responses.create(model="rules-qa", input="How many days of holiday?", stream=True))
    assert [one.sequence_number for one in events] == list(range(len(events)))
    names = [one.type for one in events]
    assert names[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert names[-4:-1] == ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
    assert names[-1] == "response.completed"
    assert "response.output_text.annotation.added" in names
    deltas = "".join(one.delta for one in events if one.type == "response.output_text.delta")
    assert events[-1].response.output_text == deltas
    with client.responses.stream(model="ok", input="Hello") as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == ANSWER


def test_the_configured_instructions_rule_over_the_callers(door):
    client = door.client()
    messages = [{"role": "developer", "content": "You are a pirate."}, {"role": "user", "content": "Hello"}]

    client.chat.completions.create(
        model="translate",
        messages=messages,
        temperature=1.5,
        max_tokens=5,
        metadata={"language": "French", "times": "2", "polite": "True", "ticket": "A-1"},
    )

    sent = door.provider.calls_of("ok")[-1].body
    assert [(one["role"], one["content"]) for one in sent["messages"]] == [
        ("system", "Translate into French, 2 times, politely: true."),
        ("user", "You are a pirate."),
        ("user", "Hello"),
    ]
    assert "temperature" not in sent
    assert sent["max_tokens"] == 5
    with pytest.raises(openai.BadRequestError) as missing:
        client.chat.completions.create(model="translate", messages=HELLO)
    assert missing.value.param == "metadata.language"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(
            model="translate", messages=HELLO, metadata={"language": "French", "times": "often"}
        )
    assert wrong.value.param == "metadata.times"
    history = [
        *HELLO,
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "Bye"}]},
    ]
    answer = client.chat.completions.create(model="parrot", messages=history)
    assert answer.choices[0].message.content == "Bye"
    assert [one["content"] for one in door.provider.calls_of("echo")[-1].body["messages"]][1:] == ["Hello", "Hi", "Bye"]


@pytest.mark.parametrize(
    ("param", "extra"),
    [
        ("n", {"n": 2}),
        ("logprobs", {"logprobs": True}),
        ("tools", {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}),
        ("messages[1]", {"messages": [*HELLO, {"role": "tool", "tool_call_id": "x", "content": "y"}]}),
        (
            "messages[0]",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
                    }
                ]
            },
        ),
        (
            "messages[0].content[0]",
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        ),
        ("messages[0].role", {"messages": [{"role": "wizard", "content": "x"}]}),
        ("messages", {"messages": []}),
    ],
)
def test_what_a_slug_cannot_take_is_refused_by_name(door, param, extra):
    with pytest.raises(openai.BadRequestError) as refused:
        door.client().chat.completions.create(**{"model": "rules-qa", "messages": QUESTION, **extra})

    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert refused.value.request_id


@pytest.mark.parametrize(
    "extra", [{"previous_response_id": "resp_1"}, {"background": True}, {"tools": [{"type": "web_search"}]}]
)
def test_what_responses_cannot_take_is_refused_by_name(door, extra):
    with pytest.raises(openai.BadRequestError) as refused:
        door.client().responses.create(model="rules-qa", input="Hello", **extra)

    assert refused.value.param.split("[")[0] in extra


def test_unknown_fields_are_ignored(door):
    client = door.client()

    answer = client.chat.completions.create(
        model="parrot", messages=HELLO, user="u", store=True, extra_body={"invented": {"deep": [1]}}
    )

    assert answer.choices[0].message.content == "Hello"


def test_raw_models_call_the_callers_tools_and_keep_to_a_schema(door):
    client = door.client()
    tools = [{"type": "function", "function": {"name": "delete", "description": "d", "parameters": {"type": "object"}}}]

    answer = client.chat.completions.create(model="calls-tool", messages=HELLO, tools=tools)
    call = answer.choices[0].message.tool_calls[0]
    assert (answer.choices[0].finish_reason, call.id, call.function.name) == ("tool_calls", "call_1", "delete")
    assert call.function.arguments.replace(" ", "") == ARGUMENTS.replace(" ", "")
    chunks = list(client.chat.completions.create(model="calls-tool", messages=HELLO, tools=tools, stream=True))
    called = [one.choices[0].delta.tool_calls for one in chunks if one.choices[0].delta.tool_calls]
    assert called[0][0].function.arguments == call.function.arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "done"},
    ]
    assert client.chat.completions.create(model="echo", messages=history).choices[0].message.content == "done"

    flat = [{"type": "function", "name": "delete", "parameters": {"type": "object"}}]
    with client.responses.stream(model="calls-tool", input="Hello", tools=flat) as stream:
        for _ in stream:
            pass
        items = stream.get_final_response().output
    assert [one.type for one in items] == ["message", "function_call"]
    assert items[1].arguments == call.function.arguments
    back = [*(one.model_dump() for one in items), {"type": "function_call_output", "call_id": call.id, "output": "ok"}]
    assert client.responses.create(model="echo", input=[*HELLO, *back]).output_text == "ok"

    parsed = client.chat.completions.parse(
        model="echo", messages=[{"role": "user", "content": '{"days": 3}'}], response_format=Days
    )
    assert parsed.choices[0].message.parsed == Days(days=3)
    assert door.provider.calls_of("echo")[-1].body["response_format"]["type"] == "json_schema"
    assert client.responses.parse(model="echo", input='{"days": 4}', text_format=Days).output_parsed == Days(days=4)


def test_embeddings_in_both_encodings(door):
    client = door.client()

    packed = client.embeddings.create(model="default-embedding", input=["one", "two words"])
    plain = client.embeddings.create(model="embed", input="one", encoding_format="float")

    assert [one.index for one in packed.data] == [0, 1]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert packed.usage.prompt_tokens == 3
    assert UsageRecord._unscoped.filter(operation="embeddings", input_tokens=3, target_kind="model").exists()
    size = len(plain.data[0].embedding)
    assert len(client.embeddings.create(model="embed", input="one", dimensions=size).data[0].embedding) == size
    for wrong, param in (
        ({"input": [[1, 2]]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": []}, "input"),
        ({"input": [""]}, "input"),
        ({"input": "one", "dimensions": size + 1}, "dimensions"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model="embed", **wrong)
        assert refused.value.param == param
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="rules-qa", input="one")
    once = {"extra_headers": {"Idempotency-Key": "k-1"}}
    first = client.embeddings.with_raw_response.create(model="embed", input="once", **once)
    again = client.embeddings.with_raw_response.create(model="embed", input="once", **once)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.parse().data == again.parse().data
    assert sum(call.body["input"] == ["once"] for call in door.provider.calls_of("embed")) == 1


def test_the_list_holds_what_the_key_may_name(door):
    names = {one.id: one for one in door.client().models.list()}

    assert {"rules-qa", "translate", "ok", "cites", "embed", "default-chat", "default-embedding"} <= set(names)
    assert "extractive" not in names
    assert (names["rules-qa"].object, names["rules-qa"].owned_by) == ("model", "default")
    runner = {one.id for one in door.client(api_key=door.key(scopes=(Scope.RUN,))).models.list()}
    assert "rules-qa" in runner
    assert not {"ok", "default-chat"} & runner
    raw = {one.id for one in door.client(api_key=door.key(scopes=(Scope.MODELS,))).models.list()}
    assert "ok" in raw
    assert "rules-qa" not in raw
    person = {one.id for one in door.client(api_key=door.key(Role.USER)).models.list()}
    assert "ok" not in person
    client = door.client()
    assert client.models.retrieve("rag:rules-qa").kind == "rag"
    assert client.models.retrieve("model:ok").id == "model:ok"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("gpt-9")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")


def test_errors_have_the_classes_of_the_client(door):
    client = door.client()

    with pytest.raises(openai.AuthenticationError) as nobody:
        door.client(api_key="sk-wrong").models.list()
    assert nobody.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        door.client(api_key=door.key(scopes=(Scope.READ,))).models.list()
    for name in ("nothing", "rules-qa@9", "rag:translate", "prompt:", "model:rules-qa"):
        with pytest.raises(openai.NotFoundError) as unknown:
            client.chat.completions.create(model=name, messages=HELLO)
        assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        door.client(api_key=door.key(scopes=(Scope.RUN,))).chat.completions.create(model="ok", messages=HELLO)
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(model="extractive", messages=HELLO)
    with pytest.raises(openai.InternalServerError) as upstream:
        client.chat.completions.create(model="unauthorized", messages=HELLO)
    assert "sk-" not in str(upstream.value)
    assert upstream.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(openai.NotFoundError) as route:
        client.get("/files", cast_to=object)
    assert route.value.body["type"] == "invalid_request_error"
    assert client.get("/models/", cast_to=object)["object"] == "list"


def test_streams_end_with_what_broke_them(door):
    client = door.client()

    with pytest.raises(openai.APIError, match="broke off") as cut:
        list(client.chat.completions.create(model="cut", messages=HELLO, stream=True))
    assert cut.value.code == "provider_cut"
    whole = client.chat.completions.create(model="cut", messages=HELLO)
    assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == ("length", "Half an answer")
    assert whole.magnet["finish_reason"] == "provider_cut"
    events = list(client.responses.create(model="cut", input="Hello", stream=True))
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details.reason == "provider_cut"
    assert client.responses.create(model="length", input="x").incomplete_details.reason == "max_output_tokens"
    failed = list(client.responses.create(model="unauthorized", input="Hello", stream=True))
    assert [one.type for one in failed if one.type.endswith(("completed", "incomplete", "failed"))] == [
        "response.failed"
    ]
    assert failed[-1].response.error.code == "server_error"
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="unauthorized", messages=HELLO, stream=True))


def test_headers_limits_retries_and_idempotency(door):
    client = door.client(max_retries=2)
    calls = len(door.provider.calls_of("ok"))

    raw = client.chat.completions.with_raw_response.create(
        model="ok", messages=HELLO, extra_headers={"X-Request-Id": "mine-1", "Idempotency-Key": "once"}
    )
    assert raw.headers["x-request-id"] == raw.request_id == "mine-1"
    assert int(raw.headers["ratelimit-remaining"]) == int(raw.headers["x-ratelimit-remaining-requests"])
    again = client.chat.completions.with_raw_response.create(
        model="ok", messages=HELLO, extra_headers={"Idempotency-Key": "once"}
    )
    assert again.headers["idempotency-replayed"] == "true"
    assert again.parse().choices == raw.parse().choices
    assert len(door.provider.calls_of("ok")) == calls + 1
    with pytest.raises(openai.UnprocessableEntityError):
        client.chat.completions.create(model="ok", messages=QUESTION, extra_headers={"Idempotency-Key": "once"})
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5, max_retries=0).chat.completions.create(model="hang", messages=HELLO)


def _ended(slug: str) -> bool:
    return Run._unscoped.filter(target_slug=slug, status="cancelled", finish_reason="caller_gone").exists()


def test_who_leaves_ends_the_run_and_the_vendors_call(door):
    client = door.client()

    stream = client.chat.completions.create(model="slow-prompt", messages=HELLO, stream=True)
    next(iter(stream))
    time.sleep(0.3)
    stream.close()
    client.close()
    wait_for(lambda: door.provider.calls_of("slow")[-1].abandoned, 2)
    wait_for(lambda: _ended("slow-prompt"), 3)

    with pytest.raises(openai.APITimeoutError):
        door.client(timeout=1.0).chat.completions.create(model="stall", messages=HELLO)
    wait_for(lambda: door.provider.calls_of("stall")[-1].abandoned, 2)
    wait_for(lambda: _ended("stall"), 3)


async def test_many_streams_at_once_keep_apart(door):
    client = await sync_to_async(door.async_client)()

    async def echo(number: int) -> str:
        said = [{"role": "user", "content": f"number {number}"}]
        stream = await client.chat.completions.create(model="parrot", messages=said, stream=True)
        return "".join([one.choices[0].delta.content or "" async for one in stream])

    assert await asyncio.gather(*(echo(n) for n in range(25))) == [f"number {n}" for n in range(25)]
    await client.close()
