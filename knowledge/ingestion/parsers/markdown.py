"""Markdown by CommonMark, with tables and front matter."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import MARKDOWN, SUPPORTED
from plugins.contracts import Block, BlockKind, ParsedDocument

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.S)
KINDS = {
    "paragraph_open": BlockKind.PARAGRAPH,
    "bullet_list_open": BlockKind.LIST,
    "ordered_list_open": BlockKind.LIST,
    "table_open": BlockKind.TABLE,
    "blockquote_open": BlockKind.QUOTE,
    "html_block": BlockKind.PARAGRAPH,
    "fence": BlockKind.CODE,
    "code_block": BlockKind.CODE,
}


class MarkdownParser:
    """Blocks keep their source text, so that code, links and tables stay what they are."""

    name = "markdown"
    version = 1
    media_types: tuple[str, ...] = (MARKDOWN,)
    extensions: tuple[str, ...] = SUPPORTED[MARKDOWN]

    def parse(self, path: Path) -> ParsedDocument:
        from markdown_it import MarkdownIt

        text = decode(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
        front = FRONT_MATTER.match(text)
        metadata = _front_matter(front[1]) if front else {}
        body = text[front.end() :] if front else text
        tokens = MarkdownIt("commonmark").enable("table").parse(body)
        blocks = tuple(_blocks(tokens, body.split("\n")))
        first = next((block.text for block in blocks if block.kind is BlockKind.HEADING), "")
        return ParsedDocument(blocks, str(metadata.get("title", "")) or first, metadata)


def _blocks(tokens: list[Any], lines: list[str]) -> Iterator[Block]:
    """The outermost blocks, each with the lines it was written in."""
    for position, token in enumerate(tokens):
        if token.level != 0 or token.map is None:
            continue
        start, end = token.map
        if token.type == "heading_open":
            yield Block(BlockKind.HEADING, tokens[position + 1].content, level=int(token.tag[1]))
        elif token.type in KINDS:
            yield Block(KINDS[token.type], "\n".join(lines[start:end]).strip("\n"))


def _front_matter(text: str) -> dict[str, str]:
    """`name: value` lines; nested values are left out."""
    pairs = (line.partition(":") for line in text.split("\n") if re.match(r"[A-Za-z][\w-]*:", line))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs if value.strip()}
