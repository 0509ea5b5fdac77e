"""Plain text, in whatever encoding it comes."""

from pathlib import Path

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import SUPPORTED, TEXT
from plugins.contracts import Block, BlockKind, ParsedDocument


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
