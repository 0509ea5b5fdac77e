"""Plain JSON that PostgreSQL stores and every client reads: what callers send and models say may be neither."""

import math
import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

REPLACEMENT = "\ufffd"


def plain_text(text: str) -> str:
    """The text without NUL (PostgreSQL refuses it) and without half surrogate pairs (UTF-8 cannot hold them)."""
    text = text.replace("\x00", REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def plain(value: Any) -> Any:
    """The value as JSON holds it; ids, times and decimals as text, what is no number as null.

    Raises TypeError for anything else, so that an engine's mistake shows in the engine.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return plain_text(value.value if isinstance(value, Enum) else value)
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not plain JSON.")
