"""Server-sent events on the wire."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
from django.http import StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from core.api import sse


@dataclass(frozen=True)
class Event:
    seq: int
    name: str
    data: dict


async def body(response: StreamingHttpResponse) -> bytes:
    return b"".join([chunk async for chunk in response])


def test_a_frame_has_number_name_and_one_line_of_json():
    frame = sse.encode(Event(7, "message.delta", {"text": "a\nb\u2028ü"}))

    assert frame.startswith(b"id: 7\nevent: message.delta\ndata: ")
    assert frame.endswith(b"\n\n")
    lines = frame.decode().rstrip("\n").split("\n")
    assert len(lines) == 3
    assert json.loads(lines[2].removeprefix("data: ")) == {"text": "a\nb\u2028ü"}


async def test_a_stream_tells_its_events_and_is_not_kept_by_proxies():
    async def events() -> AsyncGenerator[Event]:
        yield Event(1, "a", {})
        yield Event(2, "b", {"x": 1})

    response = sse.stream_response(events())

    assert response["Content-Type"] == "text/event-stream"
    assert "no-transform" in response["Cache-Control"]
    assert response["X-Accel-Buffering"] == "no"
    assert await body(response) == b'id: 1\nevent: a\ndata: {}\n\nid: 2\nevent: b\ndata: {"x":1}\n\n'


async def test_a_quiet_stream_is_kept_open_by_comments(monkeypatch):
    monkeypatch.setattr(sse, "PING_SECONDS", 0.05)

    async def events() -> AsyncGenerator[Event]:
        await asyncio.sleep(0.18)
        yield Event(1, "a", {})

    assert await body(sse.stream_response(events())) == b": ping\n\n" * 3 + b"id: 1\nevent: a\ndata: {}\n\n"


async def test_a_reader_that_goes_away_closes_the_events(monkeypatch):
    closed = []

    async def events() -> AsyncGenerator[Event]:
        try:
            yield Event(1, "a", {})
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    response = sse.stream_response(events())

    async def read() -> None:
        async for _ in response:
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.sleep(0.05)

    assert closed == [True]


async def test_an_error_on_the_way_breaks_the_stream_off():
    async def events() -> AsyncGenerator[Event]:
        yield Event(1, "a", {})
        raise ValueError("a mistake")

    frames = aiter(sse.stream_response(events()))

    assert await anext(frames) == b"id: 1\nevent: a\ndata: {}\n\n"
    with pytest.raises(ValueError, match="a mistake"):
        await anext(frames)


def request(**headers: str) -> Request:
    return Request(APIRequestFactory().get("/", headers=headers))


@pytest.mark.parametrize(
    "value, number", [("0", 0), ("17", 17), ("", 0), ("-1", 0), ("x", 0), ("1.5", 0), ("9" * 30, 0), ("٣", 0)]
)
def test_the_last_event_id_is_a_number_or_nothing(value, number):
    assert sse.last_event_id(request(**{"Last-Event-ID": value})) == number


@pytest.mark.parametrize(
    "accept, asked, wanted",
    [
        ("text/event-stream", False, True),
        ("application/json, text/event-stream", False, True),
        ("application/json", False, False),
        ("*/*", False, False),
        ("application/json", True, True),
    ],
)
def test_a_stream_is_asked_for_by_accept_or_in_the_body(accept, asked, wanted):
    assert sse.wants_stream(request(Accept=accept), asked) is wanted
