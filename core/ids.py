"""UUIDv7 identifiers (RFC 9562): sortable by time, made by us and by the database alike."""

import secrets
import time
import uuid

from django.db.models import Func, UUIDField


def uuid7() -> uuid.UUID:
    """A new UUIDv7: 48 bits of Unix milliseconds, 12 bits of the fraction (RFC 9562, method 3), 62 random bits."""
    now = time.time_ns()
    milliseconds, rest = divmod(now, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= fraction << 64
    value |= 0b10 << 62
    value |= secrets.randbits(62)
    return uuid.UUID(int=value)


def unix_seconds_of(id: uuid.UUID | str) -> int:
    """When a UUIDv7 was made, to the second."""
    return (uuid.UUID(str(id)).int >> 80) // 1000


class DatabaseUUID7(Func):
    """The database's own UUIDv7 for rows that are inserted by plain SQL; core's first migration creates it.

    A function of ours, because PostgreSQL has `uuidv7()` only from version 18 and Magnet supports 16.
    """

    function = "magnet_uuid7"
    template = "%(function)s()"
    output_field = UUIDField()
    arity = 0


def as_stored(reference: str) -> str:
    """A reference as it is compared with ids and names: an id in the one spelling that PostgreSQL reads, too."""
    return str(uuid.UUID(reference)) if is_uuid(reference) else reference


def is_uuid(text: str) -> bool:
    """Whether a reference in a URL or a request is an id, and so no slug."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
