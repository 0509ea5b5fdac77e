"""Server-sent events: the only module that knows how an event looks on the wire."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from core.api.arrivals import Arrivals
from core.api.watch import Numbered, Watch

CONTENT_TYPE = "text/event-stream"
PING = b": ping\n\n"
PING_SECONDS = 15.0


class EventStreamRenderer(JSONRenderer):
    """Lets a client ask for `text/event-stream`; an error before the first event is still a JSON problem."""

    media_type = CONTENT_TYPE
    format = "event-stream"


def encode(event: Numbered) -> bytes:
    """One frame. JSON has no line breaks, so one data line is enough."""
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.seq}\nevent: {event.name}\ndata: {data}\n\n".encode()


def one_frame(event: Numbered) -> tuple[bytes]:
    """The frames of an event in our own streams."""
    return (encode(event),)


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
    events: AsyncIterator[Numbered],
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    watch: Watch | None = None,
    tell: Callable[[Numbered], Iterable[bytes]] = one_frame,
    released: bool = False,
) -> StreamingHttpResponse:
    """The answer that tells these events, with a comment each 15 s so that no proxy takes it for dead.

    tell: the frames of one event. watch: asks each 15 s whether the reader may read on, and ends the stream if not.
    released: the view has given its connection back; else it is done here, as it would be held to the stream's end.
    """
    frames = _frames(events, watch, tell)
    response = StreamingHttpResponse(
        frames if released else _releasing(frames), content_type=CONTENT_TYPE, headers=headers
    )
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    return response


async def _releasing(frames: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(frames):
        await sync_to_async(connections.close_all)()
        async for frame in frames:
            yield frame


async def _frames(
    events: AsyncIterator[Numbered], watch: Watch | None, tell: Callable[[Numbered], Iterable[bytes]]
) -> AsyncGenerator[bytes]:
    """What has come since the last look, in one piece."""
    clock = asyncio.get_running_loop().time
    arrivals, seq, ping = Arrivals(events), 0, clock() + PING_SECONDS
    if watch is not None:
        watch.begin(clock())
    try:
        while (come := await arrivals.next(min(ping, watch.due) if watch else ping)) is not None:
            if watch is not None and clock() >= watch.due:
                refused = await watch.refusal()
                if refused is not None:
                    yield b"".join(tell(watch.ended(seq + 1, refused)))
                    return
                watch.begin(clock())
            if come:
                seq = come[-1].seq
                yield b"".join(frame for event in come for frame in tell(event))
            elif clock() >= ping:
                yield PING
            else:
                continue
            ping = clock() + PING_SECONDS
    finally:
        await arrivals.close()
