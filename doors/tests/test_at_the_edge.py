"""/v1 over real HTTP beyond the calls themselves: limits, sessions, other origins, pictures, encodings, addresses."""

import base64
import struct
import time
from importlib import import_module

import httpx2
import openai
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

from accounts.models import ApiKey
from core.valkey import sync_client
from knowledge.models import Document
from llm.choices import ModelKind
from magnet.tests.scripted_answers import ANSWER, embed_text

pytestmark = pytest.mark.django_db

SPA, EVIL = "https://spa.test", "https://evil.test"
VARIABLES = {"CORS_ALLOWED_ORIGINS": SPA, "RATE_RUNS": "20"}
HELLO = [{"role": "user", "content": "Hello"}]
BODY = {"model": "ok", "messages": HELLO}
TOKEN = "t" * 32
WORDS = "one two three four five six seven eight nine ten eleven twelve"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()
SEEN = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]


def sign_in(door) -> str:
    """The cookie of a session of the member."""

    def begin() -> str:
        user = door.world.member.user
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session.create()
        return session.session_key

    return f"sessionid={door.commit(begin)}"


def send(door, method: str, path: str = "/chat/completions", **headers: str) -> httpx2.Response:
    body = {"json": BODY} if method == "POST" else {}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.request(method, f"{door.url}{path}", headers=named, timeout=20, **body)


def test_a_client_over_its_limit_is_told_when_to_come_back_and_does(door):
    key = door.key()
    hasty = door.client(api_key=key)
    patient = door.client(api_key=key, max_retries=1)
    window = f"magnet:rate:runs:key:{ApiKey._unscoped.get(public_id=key.split('_')[1]).pk}"

    for _ in range(20):
        with pytest.raises(openai.NotFoundError):
            hasty.chat.completions.create(model="nothing", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as refused:
        hasty.chat.completions.create(model="ok", messages=HELLO)
    sync_client().pexpire(window, 1500)
    began = time.monotonic()
    answer = patient.chat.completions.create(model="ok", messages=HELLO)

    assert (refused.value.type, refused.value.code) == ("rate_limit_error", "rate_limit_exceeded")
    assert refused.value.request_id
    told = refused.value.response.headers
    assert 50 <= int(told["retry-after"]) <= 60
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("20", "0")
    assert time.monotonic() - began > 1
    assert answer.choices[0].message.content == ANSWER


def test_a_session_needs_its_token_and_a_listed_origin(door):
    session = sign_in(door)
    cookie = f"{session}; csrftoken={TOKEN}"
    calls = len(door.provider.calls_of("ok"))

    without = send(door, "POST", Cookie=session)
    forged = send(door, "POST", Cookie=cookie, X_CSRFToken=TOKEN, Origin=EVIL)
    assert len(door.provider.calls_of("ok")) == calls
    own = send(door, "POST", Cookie=cookie, X_CSRFToken=TOKEN)
    listed = send(door, "POST", Cookie=cookie, X_CSRFToken=TOKEN, Origin=SPA)

    for refused in (without, forged):
        assert refused.status_code == 403
        assert refused.json()["error"]["type"] == "permission_error"
        assert "CSRF" in refused.json()["error"]["message"]
    assert [one.json()["choices"][0]["message"]["content"] for one in (own, listed)] == [ANSWER, ANSWER]
    assert listed.headers["access-control-allow-origin"] == SPA
    assert listed.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in forged.headers
    assert send(door, "GET", "/models", Cookie=session).status_code == 200


@pytest.mark.parametrize("path", ["/chat/completions", "/responses", "/embeddings", "/models"])
def test_a_preflight_is_answered_to_listed_origins_alone(door, path):
    wanted = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,x-csrftoken"}

    listed = send(door, "OPTIONS", path, Origin=SPA, **wanted)
    other = send(door, "OPTIONS", path, Origin=EVIL, **wanted)

    assert (listed.status_code, listed.headers["access-control-allow-origin"]) == (200, SPA)
    assert {"authorization", "x-csrftoken"} <= set(listed.headers["access-control-allow-headers"].split(", "))
    assert "POST" in listed.headers["access-control-allow-methods"]
    assert "access-control-allow-origin" not in other.headers


def test_a_stream_carries_what_every_answer_carries(door):
    headers = {"Authorization": f"Bearer {door.key()}", "Origin": SPA, "X-Request-Id": "stream-1"}
    with httpx2.stream(
        "POST", f"{door.url}/chat/completions", json={**BODY, "stream": True}, headers=headers
    ) as answer:
        text = answer.read().decode()

    assert text.endswith("data: [DONE]\n\n")
    told = answer.headers
    assert (told["content-type"], told["x-request-id"]) == ("text/event-stream", "stream-1")
    assert (told["access-control-allow-origin"], told["x-content-type-options"]) == (SPA, "nosniff")
    assert (told["x-frame-options"], told["referrer-policy"]) == ("DENY", "same-origin")
    assert "default-src" in told["content-security-policy"]
    assert "camera=()" in told["permissions-policy"]
    assert (told["cache-control"], told["x-accel-buffering"]) == ("no-cache, no-transform", "no")
    assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("20", "19")


def test_pictures_go_to_models_that_see_and_others_say_that_they_do_not(door):
    door.add_model("sees", identifier="ok", vision=True)
    client = door.client()

    answer = client.chat.completions.create(model="sees", messages=SEEN)
    asked = [
        {"type": "input_text", "text": "And this?"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
    ]
    again = client.responses.create(model="sees", input=[{"role": "user", "content": asked}])
    with pytest.raises(openai.ConflictError, match="The model 'ok' cannot see pictures") as blind:
        client.chat.completions.create(model="ok", messages=SEEN)

    assert answer.choices[0].message.content == again.output_text == ANSWER
    for call, words in zip(door.provider.calls_of("ok")[-2:], ("What is this?", "And this?"), strict=True):
        said, shown = call.body["messages"][-1]["content"]
        assert (said["text"], shown["image_url"]["url"]) == (words, f"data:image/png;base64,{PIXEL}")
    assert blind.value.response.headers["x-should-retry"] == "false"


def test_vectors_are_shortened_and_packed_as_they_are_asked_for(door):
    door.add_model("short", ModelKind.EMBEDDING, identifier="embed", dimensions=32, shortens=True)
    client = door.client()

    plain = client.embeddings.create(model="short", input=WORDS, dimensions=8, encoding_format="float")
    packed = client.post(
        "/embeddings",
        body={"model": "short", "input": WORDS, "dimensions": 8, "encoding_format": "base64"},
        cast_to=object,
    )

    vector = plain.data[0].embedding
    assert (len(vector), sum(value * value for value in vector)) == (8, pytest.approx(1, abs=1e-5))
    assert struct.unpack("<8f", base64.b64decode(packed["data"][0]["embedding"])) == pytest.approx(vector)
    whole = client.embeddings.create(model="short", input=WORDS).data[0].embedding
    assert whole == pytest.approx(embed_text(WORDS), abs=1e-6)
    with pytest.raises(openai.BadRequestError) as longer:
        client.embeddings.create(model="short", input="one", dimensions=33)
    assert longer.value.param == "dimensions"


def test_documents_with_an_address_are_cited_by_it(door):
    address = "https://handbook.test/holiday"
    document = door.world.documents["Holiday"]
    question = "How many days of holiday do employees have?"

    def move(to: str) -> None:
        Document._unscoped.filter(pk=document.pk).update(url=to)

    door.commit(lambda: move(address))
    try:
        message = (
            door.client()
            .chat.completions.create(model="rules-qa", messages=[{"role": "user", "content": question}])
            .choices[0]
            .message
        )
        response = door.client().responses.create(model="rules-qa", input=question)
    finally:
        door.commit(lambda: move(""))

    cited = message.annotations[0]
    assert (cited.type, cited.url_citation.url, cited.url_citation.title) == ("url_citation", address, "Holiday")
    assert message.content[cited.url_citation.start_index : cited.url_citation.end_index] == "[1]"
    noted = response.output[0].content[0].annotations[0]
    assert (noted.type, noted.url, noted.title) == ("url_citation", address, "Holiday")
    assert response.output_text[noted.start_index : noted.end_index] == "[1]"
