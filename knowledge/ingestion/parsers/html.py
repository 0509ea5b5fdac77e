"""HTML through lexbor: headings, paragraphs, lists, tables and code of the page's main part."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import HTML, SUPPORTED
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument

NOISE = (
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "embed", "form", "nav", "button",
    "head > *:not(title)", "[hidden]", "[aria-hidden=true]", "[role=navigation]",
)  # fmt: skip
CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.I)
BLOCK_TAGS = frozenset(
    """
    address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer header hr html
    li main ol p pre section summary table tbody td th thead tr ul h1 h2 h3 h4 h5 h6
    """.split()  # noqa: SIM905  # a list of forty quoted words reads worse
)
SKIPPED_BREAKS = re.compile(r"[ \t\r\f\v]*\n\s*")


class HtmlParser:
    """What a reader of the page reads, without scripts, styles and navigation."""

    name = "html"
    version = 1
    media_types: tuple[str, ...] = (HTML,)
    extensions: tuple[str, ...] = SUPPORTED[HTML]

    def parse(self, path: Path) -> ParsedDocument:
        data = path.read_bytes()
        declared = CHARSET.search(data[:4096])
        return parse_html(decode(data, declared[1].decode("ascii") if declared else ""))


def parse_html(text: str) -> ParsedDocument:
    """The document of an HTML text."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(text.replace("\x00", ""))
    title_node = tree.css_first("title")
    title = " ".join(title_node.text().split()) if title_node is not None else ""
    tree.strip_tags(list(NOISE))
    root = tree.css_first("main") or tree.css_first("[role=main]") or tree.css_first("article") or tree.body
    blocks = tuple(_Walker().blocks(root)) if root is not None else ()
    return ParsedDocument(blocks, title)


class _Walker:
    """Collects inline text until a block begins or ends."""

    def __init__(self) -> None:
        self.inline: list[str] = []

    def blocks(self, node: Any) -> Iterator[Block]:
        yield from self._children(node)
        yield from self._flush()

    def _children(self, node: Any) -> Iterator[Block]:
        child = node.child
        while child is not None:
            yield from self._node(child)
            child = child.next

    def _node(self, node: Any) -> Iterator[Block]:
        tag = node.tag
        if tag == "-text":
            self.inline.append(SKIPPED_BREAKS.sub(" ", node.text_content or ""))
        elif tag == "br":
            self.inline.append("\n")
        elif tag in BLOCK_TAGS:
            yield from self._flush()
            yield from self._block(tag, node)
        elif not tag.startswith(("-", "!")):
            yield from self._children(node)

    def _block(self, tag: str, node: Any) -> Iterator[Block]:
        if tag in {"h1", "h2", "h3", "h4", "h5", "h6"}:
            text = " ".join(node.text().split())
            if text:
                yield Block(BlockKind.HEADING, text, level=int(tag[1]))
        elif tag == "pre":
            text = node.text().strip("\n")
            if text.strip():
                yield Block(BlockKind.CODE, text)
        elif tag == "table" and not node.css("table table") and len(node.css("tr")) > 1 and len(node.css("td, th")) > 2:
            yield from _table(node)
        elif tag in {"ul", "ol"}:
            text = "\n".join(_items(node, 0))
            if text:
                yield Block(BlockKind.LIST, text)
        else:
            yield from self._children(node)
            yield from self._flush(BlockKind.QUOTE if tag == "blockquote" else BlockKind.PARAGRAPH)

    def _flush(self, kind: BlockKind = BlockKind.PARAGRAPH) -> Iterator[Block]:
        lines = (" ".join(line.split()) for line in "".join(self.inline).split("\n"))
        text = "\n".join(line for line in lines if line)
        self.inline.clear()
        if text:
            yield Block(kind, text)


def _table(node: Any) -> Iterator[Block]:
    rows = [[cell.text() for cell in row.css("td, th")] for row in node.css("tr")]
    text = markdown_table(rows)
    if text:
        yield Block(BlockKind.TABLE, text)


def _items(node: Any, depth: int) -> Iterator[str]:
    """The items of a list, nested ones indented."""
    number = 0
    for item in node.iter():
        if item.tag != "li":
            continue
        number += 1
        mark = f"{number}." if node.tag == "ol" else "-"
        own = " ".join("".join(_own_text(item)).split())
        if own:
            yield f"{'  ' * depth}{mark} {own}"
        for inner in item.iter():
            if inner.tag in {"ul", "ol"}:
                yield from _items(inner, depth + 1)


def _own_text(item: Any) -> Iterator[str]:
    """The text of an item without that of the lists inside it."""
    child = item.child
    while child is not None:
        if child.tag == "-text":
            yield child.text_content or ""
        elif child.tag not in {"ul", "ol"}:
            yield " " if child.tag in BLOCK_TAGS or child.tag == "br" else ""
            yield from _own_text(child)
        child = child.next
