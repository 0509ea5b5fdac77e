"""Whatever a body of /v1 holds: it is answered, or refused in OpenAI's shape, and nothing breaks."""

import json

import pytest

from core.access import Role
from magnet.tests.admin_world import World
from magnet.tests.api_walk import client_of
from rag.answering.engine import MAX_QUESTION_CHARS
from rag.models import RagTool

pytestmark = pytest.mark.django_db
ODD = [None, "", "text", True, False, 0, -1, 1.5, 10**30, 1e999, [], [[]], [None], {}, {"a": {"b": [{}]}}, ["x"] * 3000]
CHAT = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}
RESPONSE = {"model": "nobody", "input": "x"}
EMBEDDINGS = {"model": "nobody", "input": "x"}
FIELDS = {
    "chat/completions": (
        CHAT,
        "model messages stream stream_options metadata temperature top_p max_tokens max_completion_tokens stop seed "
        "reasoning_effort response_format n logprobs top_logprobs functions modalities tools tool_choice",
    ),
    "responses": (
        RESPONSE,
        "model input instructions stream metadata temperature top_p max_output_tokens text reasoning tools tool_choice "
        "previous_response_id conversation prompt background top_logprobs",
    ),
    "embeddings": (EMBEDDINGS, "model input encoding_format dimensions input_type"),
}
PICTURE = "data:image/png;base64,"


@pytest.fixture(autouse=True)
def no_limit_of_requests(settings):
    settings.RATES = dict.fromkeys(settings.RATES, 10**6)


def content(part) -> dict:
    return {**CHAT, "messages": [{"role": "user", "content": [part]}]}


NESTED = [
    *(("responses", {**RESPONSE, "reasoning": {"effort": odd}}) for odd in ODD),
    *(("responses", {**RESPONSE, "text": {"format": odd}}) for odd in ODD),
    *(("responses", {**RESPONSE, "input": [{"type": "message", "role": "user", "content": odd}]}) for odd in ODD),
    *(("responses", {**RESPONSE, "input": [{"type": "function_call", "arguments": odd}]}) for odd in ODD),
    *(("chat/completions", {**CHAT, "response_format": {"type": odd}}) for odd in ODD),
    *(("chat/completions", {**CHAT, "response_format": {"type": "json_schema", "json_schema": odd}}) for odd in ODD),
    *(("chat/completions", {**CHAT, "tools": [{"type": "function", "function": odd}]}) for odd in ODD),
    *(("chat/completions", {**CHAT, "tool_choice": {"function": {"name": odd}}}) for odd in ODD),
    *(("chat/completions", {**CHAT, "messages": [{"role": odd, "content": "x"}]}) for odd in ODD),
    *(("chat/completions", content({"type": "image_url", "image_url": odd})) for odd in ODD),
    *(("chat/completions", content({"type": "image_url", "image_url": {"url": odd}})) for odd in ODD),
    *(("chat/completions", content({"type": "image_url", "image_url": f"{PICTURE}{bad}"})) for bad in ("é", "a", "==")),
]


def refused(client, path: str, body) -> dict:
    """What is wrong with the body: JSON as it is sent, so also with what is none."""
    answer = client.generic("POST", f"/v1/{path}", body, content_type="application/json")
    assert answer.status_code in (400, 404), (answer.status_code, body[:300])
    error = answer.json()["error"]
    assert (error["type"], bool(error["message"]), bool(error["code"])) == ("invalid_request_error", True, True)
    return error


@pytest.mark.exhaustive  # a thousand requests
@pytest.mark.parametrize("path", FIELDS)
def test_every_field_bears_every_kind_of_value(path, north: World):
    client, (body, names) = client_of(north), FIELDS[path]

    for name in names.split():
        for odd in ODD:
            refused(client, path, json.dumps({**body, name: odd}))
        refused(client, path, json.dumps({**body, name: "a\0b"}))
        refused(client, path, json.dumps({**body, name: "\ud800"}))
    for name in body:
        refused(client, path, json.dumps({key: value for key, value in body.items() if key != name}))


def test_what_stands_deeper_bears_it_too(north: World):
    client = client_of(north)

    for path, body in NESTED:
        refused(client, path, json.dumps(body))


@pytest.mark.parametrize("path", FIELDS)
@pytest.mark.parametrize("body", ["", "null", "[]", '"x"', "{", "[" * 100_000, '{"model": "x", "model": "y"}'])
def test_what_is_no_object_is_refused(path, body, north: World):
    refused(client_of(north), path, body)


@pytest.mark.parametrize(
    "name", ["%00", "a%00b", "%ED%A0%80", "x" * 5000, "..%2f..%2fx", "rag:%00", "@1", "x@999999999"]
)
def test_an_odd_name_of_a_model_is_unknown(name, north: World):
    answer = client_of(north).get(f"/v1/models/{name}")

    assert answer.status_code in (400, 404), answer.content[:300]
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_question_is_no_longer_than_in_the_rest_api(north: World):
    said = [{"role": "user", "content": "x" * (MAX_QUESTION_CHARS + 1)}]
    body = json.dumps({"model": f"rag:{north[RagTool].slug}", "messages": said})

    error = refused(client_of(north, Role.USER), "chat/completions", body)

    assert f"more than {MAX_QUESTION_CHARS:,} characters" in error["message"]
