"""Citations as OpenAI's annotations: one for each place in the text where a marker stands."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rag.answering.citations import MARKER


def annotations(content: str, citations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """In the flat shape of responses; indices count code points of the text and span the marker.

    A document with an address is a `url_citation`, any other one a `file_citation` by its id.
    """
    by_marker: dict[int, Mapping[str, Any]] = {int(one["marker"]): one for one in citations}
    return list(_found(content, by_marker))


def _found(content: str, by_marker: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for place in MARKER.finditer(content):
        citation = by_marker.get(int(place[1]))
        if citation is None:
            continue
        span = {"start_index": place.start(), "end_index": place.end()}
        ours = {name: citation[name] for name in ("document_id", "chunk_id", "page", "quote", "verified")}
        if citation["url"]:
            yield {"type": "url_citation", **span, "url": citation["url"], "title": citation["title"], **ours}
        else:
            named = {"file_id": citation["document_id"], "filename": citation["title"], "index": place.start()}
            yield {"type": "file_citation", **named, **span, **ours}


def nested(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the shape of chats, where the fields stand below the name of the type."""
    kind = str(annotation["type"])
    return {"type": kind, kind: {name: value for name, value in annotation.items() if name != "type"}}
