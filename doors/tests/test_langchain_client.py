"""LangChain's ChatOpenAI against a web process over loopback, unchanged but for its base URL."""

import json

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from magnet.tests.scripted_answers import ANSWER
from magnet.tests.scripted_tools import ARGUMENTS

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]  # its imports alone take seconds
QUESTION = "How many days of holiday do employees have?"


class Days(BaseModel):
    """How many days."""

    days: int


def delete(path: str, note: str) -> str:
    """Delete what is at this path."""
    raise AssertionError(f"{path}, {note}: nothing runs here.")


@pytest.fixture
def chat(door):
    def connect(model: str, **options) -> ChatOpenAI:
        return ChatOpenAI(model=model, base_url=door.url, api_key=door.key(), max_retries=0, **options)

    return connect


def test_it_asks_rag_tools_prompts_and_raw_models(door, chat):
    cited = chat("rules-qa").invoke(QUESTION)
    prompted = chat("parrot").invoke([SystemMessage("Be kind."), HumanMessage("Hello")])
    raw = chat("ok", temperature=0.5, max_tokens=50).invoke("Hello")

    assert "27 days" in cited.content
    assert cited.response_metadata["finish_reason"] == "stop"
    assert cited.usage_metadata["input_tokens"] > 0
    assert cited.usage_metadata["total_tokens"] == sum(
        cited.usage_metadata[f"{kind}_tokens"] for kind in ("input", "output")
    )
    assert (prompted.content, raw.content) == ("Hello", ANSWER)
    sent = door.provider.calls_of("ok")[-1].body
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 50)


async def test_it_streams_with_usage(chat):
    told = list(chat("rules-qa", stream_usage=True).stream(QUESTION))
    heard = [one async for one in chat("ok", stream_usage=True).astream("Hello")]

    whole = told[0]
    for one in told[1:]:
        whole += one
    assert "27 days" in whole.content
    assert len([one for one in told if one.content]) > 3
    assert whole.usage_metadata["output_tokens"] > 0
    assert "".join(one.content for one in heard) == ANSWER
    assert sum(one.usage_metadata is not None for one in heard) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_raw_models_call_its_tools_and_read_what_they_returned(chat, streamed):
    model = chat("calls-tool").bind_tools([delete])

    if streamed:
        pieces = list(model.stream("Tidy up."))
        asked = pieces[0]
        for one in pieces[1:]:
            asked += one
        asked = AIMessage(asked.content, tool_calls=asked.tool_calls)
    else:
        asked = model.invoke("Tidy up.")
    [call] = asked.tool_calls
    answered = model.invoke([HumanMessage("Tidy up."), asked, ToolMessage("done", tool_call_id=call["id"])])

    assert (call["name"], call["args"]) == ("delete", json.loads(ARGUMENTS))
    assert answered.content == "It said: done"
    assert answered.tool_calls == []


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_answers_are_structured(door, chat, method):
    found = chat("echo").with_structured_output(Days, method=method).invoke('{"days": 3}')

    assert found == Days(days=3)
    kind = {"json_schema": "json_schema", "json_mode": "json_object"}[method]
    assert door.provider.calls_of("echo")[-1].body["response_format"]["type"] == kind


def test_it_reads_responses_and_their_annotations(chat):
    answer = chat("rules-qa", use_responses_api=True).invoke(QUESTION)

    [block] = [one for one in answer.content if one["type"] == "text"]
    assert "27 days" in block["text"]
    assert block["annotations"][0]["type"] == "file_citation"
    assert "27 days" in "".join(one.text for one in chat("rules-qa", use_responses_api=True).stream(QUESTION))


def test_its_embeddings_send_texts(door):
    """Its own default, tokens of OpenAI's models, is refused by name."""
    options = {"model": "default-embedding", "base_url": door.url, "api_key": door.key(), "max_retries": 0}

    vectors = OpenAIEmbeddings(**options, check_embedding_ctx_length=False).embed_documents(["one", "two words"])

    assert [len(one) for one in vectors] == [32, 32]


def test_errors_are_the_openai_clients(chat):
    with pytest.raises(openai.NotFoundError) as unknown:
        chat("gpt-9").invoke("Hello")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.APIError, match="broke off"):
        list(chat("cut").stream("Hello"))
