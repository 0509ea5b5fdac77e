"""Events as they may be sent: plain JSON, each under 64 KB but for the last one, which holds the whole answer."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from observability.plain import plain
from observability.runs.events import Event, EventName

FRAME_BYTES = 63 * 1024  # and a kilobyte for the frame's own lines
DELTA_CHARS = 10_000  # six bytes each at most: a control character as JSON writes it
TEXT_LIMITS = (4000, 2000, 1000, 500, 200, 80)


def framed(event: Event) -> Iterator[Event]:
    """The event, cut to size. A long delta becomes several; of anything else, long texts are cut and it says so.

    What is cut here stands in full in the last event.
    """
    data = plain(event.data)
    if event.name is EventName.MESSAGE_DELTA:
        yield from _deltas(data)
    elif _size(data) <= FRAME_BYTES:
        yield replace(event, data=data)
    else:
        yield replace(event, data={**_smaller(data), "truncated": True})


def _deltas(data: dict[str, Any]) -> Iterator[Event]:
    text = str(data.get("text", ""))
    for start in range(0, max(len(text), 1), DELTA_CHARS):
        yield Event(EventName.MESSAGE_DELTA, {**data, "text": text[start : start + DELTA_CHARS]})


def _size(data: Any) -> int:
    return len(json.dumps(data, ensure_ascii=False).encode())


def _smaller(data: Any) -> Any:
    for limit in TEXT_LIMITS:
        data = _with_texts(data, limit)
        if _size(data) <= FRAME_BYTES:
            return data
    while _size(data) > FRAME_BYTES and (longest := _longest_list(data)) > 1:
        data = _with_lists(data, longest // 2)
    return data if _size(data) <= FRAME_BYTES else {}


def _with_texts(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else value[:limit] + "…"
    if isinstance(value, dict):
        return {key: _with_texts(one, limit) for key, one in value.items()}
    return [_with_texts(one, limit) for one in value] if isinstance(value, list) else value


def _with_lists(value: Any, limit: int) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(one, limit) for key, one in value.items()}
    return [_with_lists(one, limit) for one in value[:limit]] if isinstance(value, list) else value


def _longest_list(value: Any) -> int:
    if isinstance(value, dict):
        return max((_longest_list(one) for one in value.values()), default=0)
    return max([len(value), *(_longest_list(one) for one in value)]) if isinstance(value, list) else 0
