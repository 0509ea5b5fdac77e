"""Server-sent events: the only module that knows how an event looks on the wire."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

CONTENT_TYPE = "text/event-stream"
PING = b": ping\n\n"
PING_SECONDS = 15.0


class Numbered(Protocol):
    """An event with its place in the stream."""

    @property
    def seq(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


class EventStreamRenderer(JSONRenderer):
    """Lets a client ask for `text/event-stream`; an error before the first event is still a JSON problem."""

    media_type = CONTENT_TYPE
    format = "event-stream"


def encode(event: Numbered) -> bytes:
    """One frame. JSON has no line breaks, so one data line is enough."""
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.name}\ndata: {data}\n\n".encode()


def data_frame(data: Any) -> bytes:
    """A frame without name and number, as OpenAI's chat streams have them. A text is sent as it stands."""
    return b"data: %s\n\n" % (data.encode() if isinstance(data, str) else _compact(data))


def typed_frame(kind: str, data: Any) -> bytes:
    """A frame with a name and no number."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), _compact(data))


def _compact(data: Any) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def wants_stream(request: Request, asked: bool) -> bool:
    """Whether the caller wants events: `"stream": true`, or an Accept header that names them."""
    return asked or CONTENT_TYPE in request.headers.get("Accept", "")


def last_event_id(request: Request) -> int:
    """The number that a reader saw last; 0 for a reader from the start."""
    value = request.headers.get("Last-Event-ID", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else 0


def stream_response(
    events: AsyncIterator[Numbered] | AsyncIterator[bytes], headers: Mapping[str, str] = MappingProxyType({})
) -> StreamingHttpResponse:
    """The answer that tells these events, or frames, with a comment each 15 s so that no proxy takes it for dead."""
    response = StreamingHttpResponse(_frames(events), content_type=CONTENT_TYPE, headers=headers)
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


async def _frames(events: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    # A connection that the view used would be held to the stream's end.
    await sync_to_async(connections.close_all)()
    pending = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=PING_SECONDS)
            if not done:
                yield PING
                continue
            event = pending.result()
            if event is None:
                return
            yield event if isinstance(event, bytes) else encode(event)
            pending = asyncio.ensure_future(anext(events, None))
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
