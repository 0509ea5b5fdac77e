"""AWS' binary event stream (application/vnd.amazon.eventstream): messages with headers, each with two checksums."""

import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from plugins.contracts import ProviderFailure

PRELUDE = 12
MAX_MESSAGE = 16 * 1024 * 1024
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # of values by their type; 6 and 7 carry their length


@dataclass(frozen=True)
class Message:
    """headers: those that are texts."""

    headers: dict[str, str]
    payload: bytes


async def messages(pieces: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    """The whole messages of a stream; what is left of one at the end is none.

    Raises ProviderFailure for a checksum that is wrong.
    """
    buffer = b""
    async for piece in pieces:
        buffer += piece
        while len(buffer) >= PRELUDE:
            size = _size(buffer)
            if len(buffer) < size:
                break
            yield _message(buffer[:size])
            buffer = buffer[size:]


def _size(buffer: bytes) -> int:
    size, headers, checksum = struct.unpack(">III", buffer[:PRELUDE])
    whole = PRELUDE + headers + 4
    if zlib.crc32(buffer[:8]) != checksum or not whole <= size <= MAX_MESSAGE:
        raise _damaged()
    return int(size)


def _message(data: bytes) -> Message:
    (checksum,) = struct.unpack(">I", data[-4:])
    if zlib.crc32(data[:-4]) != checksum:
        raise _damaged()
    (length,) = struct.unpack(">I", data[4:8])
    end = PRELUDE + length
    try:
        return Message(_headers(data[PRELUDE:end]), data[end:-4])
    except (IndexError, KeyError, struct.error, UnicodeDecodeError):
        raise _damaged() from None


def _headers(data: bytes) -> dict[str, str]:
    found, at = {}, 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]].decode()
        at += 1 + data[at]
        kind = data[at]
        at += 1
        if kind in (6, 7):
            (size,) = struct.unpack(">H", data[at : at + 2])
            at += 2
        else:
            size = _SIZES[kind]
        if kind == 7:
            found[name] = data[at : at + size].decode()
        at += size
    return found


def _damaged() -> ProviderFailure:
    return ProviderFailure("bad_response", "The model provider's stream is damaged.")
