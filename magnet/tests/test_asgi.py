"""The edge of the web process: bodies that are too large, pages for what goes wrong, start and end."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries
from django.test import Client, RequestFactory

from core import lifecycle
from magnet import pages
from magnet.asgi import application
from magnet.body_limit import BodyLimit

Message = dict[str, Any]


async def ask(app: Any, chunks: list[bytes], **headers: str) -> list[Message]:
    """Send a POST in chunks; returns what came back."""
    sent: list[Message] = []

    async def messages() -> AsyncIterator[Message]:
        for number, chunk in enumerate(chunks, 1):
            yield {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        yield {"type": "http.disconnect"}

    stream = messages()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/documents/",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, stream.__anext__, send)
    return sent


class Reader:
    """An application that reads the whole body, then answers its size."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.read += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(self.read).encode()})


async def test_body_within_the_limit_passes() -> None:
    answer = await ask(BodyLimit(Reader(), 10), [b"12345", b"67890"], content_length="10")

    assert (answer[0]["status"], answer[1]["body"]) == (200, b"10")


async def test_stated_length_over_the_limit_is_refused_unread() -> None:
    reader = Reader()

    answer = await ask(BodyLimit(reader, 10), [b"x"], content_length="11")

    assert answer[0]["status"] == 413
    assert reader.read == 0
    assert json.loads(answer[1]["body"])["code"] == "payload_too_large"


async def test_chunked_body_is_refused_as_soon_as_it_grows_over() -> None:
    reader = Reader()

    answer = await ask(BodyLimit(reader, 10), [b"x" * 6, b"x" * 6, b"x" * 6])

    assert answer[0]["status"] == 413
    assert dict(answer[0]["headers"])[b"content-type"] == b"application/problem+json"
    assert reader.read == 6


async def test_answer_that_has_begun_is_not_answered_twice() -> None:
    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await receive()

    answer = await ask(BodyLimit(eager, 10), [b"x" * 20])

    assert [message["type"] for message in answer] == ["http.response.start"]


async def test_other_scopes_pass_untouched() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await BodyLimit(app, 10)({"type": "lifespan"}, None, None)

    assert seen == ["lifespan"]


async def test_websockets_are_not_served() -> None:
    await application({"type": "websocket"}, None, None)


@pytest.fixture
def _own_process(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """What the start changes for the whole process is undone."""
    monkeypatch.setattr(lifecycle, "_hooks", [])
    monkeypatch.setattr(lifecycle, "_shutdown", None)
    inherited = signal.getsignal(signal.SIGTERM)
    options = dict(settings.DATABASES["default"]["OPTIONS"])
    yield
    signal.signal(signal.SIGTERM, inherited)
    settings.DATABASES["default"]["OPTIONS"].clear()
    settings.DATABASES["default"]["OPTIONS"].update(options)
    for receiver in (reset_queries, close_old_connections):
        request_started.connect(receiver)


@pytest.mark.usefixtures("_own_process")
async def test_signal_ends_the_runs_before_the_server_waits_for_their_streams() -> None:
    told: list[int] = []
    saved: list[str] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    sent: list[Message] = []
    inbox: asyncio.Queue[Message] = asyncio.Queue()

    started, done = asyncio.Event(), asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        started.set()

    async def save() -> None:
        saved.append("the run")
        done.set()

    lifecycle.on_shutdown(save)
    serving = asyncio.create_task(application({"type": "lifespan"}, inbox.get, send))
    await inbox.put({"type": "lifespan.startup"})
    await asyncio.wait_for(started.wait(), 5)
    assert close_old_connections not in request_started._live_receivers(None)[0]

    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(done.wait(), 5)

    assert told == [signal.SIGTERM]
    await inbox.put({"type": "lifespan.shutdown"})
    await serving
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert saved == ["the run"]


@pytest.mark.usefixtures("_own_process")
async def test_production_does_not_serve_on_waiting_migrations(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MIGRATE_AT_START = False
    monkeypatch.setattr("core.health.waiting_migrations", lambda: 3)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    await application({"type": "lifespan"}, receive, send)

    assert sent == [
        {
            "type": "lifespan.startup.failed",
            "message": "DATABASE_URL: 3 migrations are not applied; back up, run manage.py migrate.",
        }
    ]


def test_csrf_failure_names_the_setting(settings: Any) -> None:
    settings.PUBLIC_URL = "https://magnet.test"
    client = Client(enforce_csrf_checks=True, headers={"origin": "http://192.168.1.9:8000"})

    answer = client.post("/admin/login/", {"username": "x", "password": "y"})

    text = answer.content.decode()
    assert answer.status_code == 403
    assert "PUBLIC_URL" in text
    assert "https://magnet.test" in text


def test_unknown_host_names_the_setting_and_does_not_echo_it() -> None:
    answer = Client(headers={"host": "evil.test"}).get("/admin/login/")

    text = answer.content.decode()
    assert answer.status_code == 400
    assert "PUBLIC_URL" in text
    assert "evil.test" not in text


def test_problems_below_api_are_problems() -> None:
    request = RequestFactory().get("/api/v1/x")

    for answer, status in (
        (pages.csrf_failure(request, "no cookie"), 403),
        (pages.bad_request(request, SuspiciousOperation()), 400),
        (pages.permission_denied(request), 403),
        (pages.page_not_found(request), 404),
        (pages.server_error(request), 500),
    ):
        assert answer.status_code == status
        assert answer["Content-Type"] == "application/problem+json"


def test_pages_for_people_hold_no_trace() -> None:
    request = RequestFactory().get("/panel/x")

    for answer, status in (
        (pages.bad_request(request, SuspiciousOperation("the inside")), 400),
        (pages.permission_denied(request, PermissionError("the inside")), 403),
        (pages.page_not_found(request), 404),
        (pages.server_error(request), 500),
    ):
        assert answer.status_code == status
        assert "text/html" in answer["Content-Type"]
        assert "the inside" not in getattr(answer, "content", b"").decode()


def test_bodies_are_capped() -> None:
    assert settings.MAX_BODY_BYTES == 110 * 2**20


@pytest.mark.django_db
def test_every_answer_carries_a_request_id(client: Client) -> None:
    kept = client.get("/health/live", headers={"X-Request-Id": "from-the-proxy.1"})
    made = client.get("/health/live", headers={"X-Request-Id": "<script>"})

    assert kept["X-Request-Id"] == "from-the-proxy.1"
    assert len(made["X-Request-Id"]) == 32
