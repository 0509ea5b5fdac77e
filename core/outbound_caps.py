"""What one outbound answer may cost: its size, its time, its headers, and its size after decompression."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2

from core.exceptions import UpstreamError
from core.outbound_allow import OutboundUse

MIB = 1024 * 1024


@dataclass(frozen=True)
class OutboundCaps:
    """What one answer may cost. max_bytes counts the body as sent and, again, after decompression.

    total_seconds: from the request to the last byte, over all redirects.
    """

    max_bytes: int = 16 * MIB
    total_seconds: float = 60
    max_headers: int = 128


CAPS = {
    OutboundUse.PROVIDER: OutboundCaps(max_bytes=64 * MIB, total_seconds=600),
    OutboundUse.TOOL: OutboundCaps(max_bytes=8 * MIB, total_seconds=60),
    OutboundUse.MCP: OutboundCaps(max_bytes=16 * MIB, total_seconds=300),
    OutboundUse.CONNECTOR: OutboundCaps(max_bytes=128 * MIB, total_seconds=300),
    OutboundUse.WEBHOOK: OutboundCaps(max_bytes=MIB, total_seconds=15),
    OutboundUse.OIDC: OutboundCaps(max_bytes=MIB, total_seconds=15),
    OutboundUse.TELEMETRY: OutboundCaps(max_bytes=MIB, total_seconds=30),
}


class OutboundLimit(UpstreamError):
    """The other side's answer is larger, or packed in another way, than this use accepts."""

    code = "outbound_limit"
    title = "Answer over its limit"


class Gunzip:
    """Unpacks gzip or zlib piece by piece, so that a bomb costs one piece of memory."""

    PIECE_BYTES = 64 * 1024

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    def decode(self, data: bytes) -> Iterator[bytes]:
        piece = b"-"
        while data or len(piece) == self.PIECE_BYTES:
            try:
                piece = self._inflate.decompress(data, self.PIECE_BYTES)
            except zlib.error as error:
                raise OutboundLimit("The answer's compression is damaged.") from error
            self._left -= len(piece)
            if self._left < 0:
                raise too_large(self._max_bytes)
            if piece:
                yield piece
            data = self._inflate.unconsumed_tail

    def finish(self, request: httpx2.Request) -> None:
        if not self._inflate.eof:
            raise httpx2.RemoteProtocolError("The compressed answer was cut.", request=request)


def decoder_for(encoding: str, max_bytes: int) -> Gunzip | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return Gunzip(max_bytes)
        case _:
            raise OutboundLimit("The answer is compressed in a way that was not asked for.")


def too_large(max_bytes: int) -> OutboundLimit:
    return OutboundLimit(f"The answer is larger than {max_bytes} bytes.")
