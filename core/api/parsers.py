"""JSON as it comes in: what the database or another reader would stumble over is refused at the door."""

import codecs
import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

MAX_DEPTH = 50


class StrictJSONParser(JSONParser):
    """RFC 8259 in its interoperable form (RFC 7493): no key twice, no NUL, no half of a surrogate pair, no NaN; and
    at most 50 levels deep."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        encoding = (parser_context or {}).get("encoding") or "utf-8"
        try:
            text = codecs.getreader(encoding)(stream).read()
            value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        except RecursionError:
            raise ParseError(f"JSON deeper than {MAX_DEPTH} levels.") from None
        except ValueError as error:
            raise ParseError(f"This is not JSON as we read it: {error}") from None
        _check(value, MAX_DEPTH)
        return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} stands twice in one object")
    return found


def _check(value: Any, depth: int) -> None:
    """Raise ParseError for text that PostgreSQL cannot hold, or for what is nested too deeply."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise ParseError(f"JSON deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            for name in value:
                _check_text(name)
        for one in value.values() if isinstance(value, dict) else value:
            _check(one, depth - 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("Text may not hold the character NUL (\\u0000).")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ParseError("Text may not hold half of a surrogate pair (\\ud800 to \\udfff).") from None
