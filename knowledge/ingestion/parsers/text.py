"""Plain text, in whatever encoding it comes."""

from pathlib import Path

from knowledge.ingestion.media_types import SUPPORTED, TEXT
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
SAMPLE = 200_000


def decode(data: bytes, hint: str = "") -> str:
    """The text of some bytes: byte order mark, then UTF-8, then the hint, then the likeliest encoding."""
    if not data.strip(b"\x00 \t\r\n\xff\xfe\xef\xbb\xbf"):
        raise ParseError("no_text", "The file holds no text.")
    for mark, encoding in BOMS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    for encoding in ("utf-8", hint):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    from charset_normalizer import from_bytes

    best = from_bytes(data[:SAMPLE]).best()
    return data.decode(best.encoding if best is not None else "cp1252", "replace")


class TextParser:
    """Paragraphs divided by blank lines; everything else stays as it is."""

    name = "text"
    version = 1
    media_types: tuple[str, ...] = (TEXT,)
    extensions: tuple[str, ...] = SUPPORTED[TEXT]

    def parse(self, path: Path) -> ParsedDocument:
        text = decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
        return ParsedDocument(tuple(paragraphs(text)))


def paragraphs(text: str) -> list[Block]:
    """Blocks of text between blank lines."""
    found: list[Block] = []
    lines: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            found.append(Block(BlockKind.PARAGRAPH, "\n".join(lines)))
            lines = []
    return found
