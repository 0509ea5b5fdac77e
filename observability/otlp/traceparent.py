"""The caller's place in a trace of its own: the `traceparent` header of W3C Trace Context, level 1."""

import re
from dataclasses import dataclass

from core.context import current_request

FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 1


@dataclass(frozen=True)
class RemoteParent:
    """trace_id, span_id: in hexadecimal digits. sampled: whether the caller keeps its own part."""

    trace_id: str
    span_id: str
    sampled: bool


def parse(header: str) -> RemoteParent | None:
    """None for what is no traceparent; later versions are read as far as this one goes (section 3.2.4)."""
    found = FORM.fullmatch(header.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return RemoteParent(trace_id, span_id, bool(int(flags, 16) & SAMPLED))


def of_request() -> RemoteParent | None:
    """The parent that the current request names."""
    request = current_request.get()
    return None if request is None else parse(request.headers.get("traceparent", ""))
