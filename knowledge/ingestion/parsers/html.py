"""HTML through lexbor: headings, paragraphs, lists, tables and code of the page's main part."""

import re
from pathlib import Path
from typing import Any

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import HTML, SUPPORTED
from knowledge.ingestion.parsers.tables import markdown_table
from knowledge.ingestion.parsers.text import paragraphs
from plugins.contracts import Block, BlockKind, ParsedDocument

NOISE = (
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "embed", "nav", "button", "select",
    "textarea", "head > *:not(title)", "[hidden]", "[aria-hidden=true]", "[role=navigation]",
)  # fmt: skip
MAIN_PARTS = ("main", "[role=main]", "article")
MAIN_SHARE = 0.3  # of the page's text, or it is not the main part
CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.I)
BLOCK_TAGS = frozenset(
    """
    address article aside blockquote body center dd details div dl dt fieldset figcaption figure footer form header hr
    html li main ol p pre section summary table tbody td tfoot th thead tr ul h1 h2 h3 h4 h5 h6
    """.split()  # noqa: SIM905  # a list of forty quoted words reads worse
)
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
WHOLE_IN_LISTS = "pre, table, blockquote, h1, h2, h3, h4, h5, h6"
LINE_BREAKS = re.compile(r"[ \t\r\f\v]*\n\s*")


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
    if tree.body is None:
        return ParsedDocument((), title)
    root = _main_part(tree)
    try:
        blocks = _Walker().walk(root)
    except RecursionError:  # nested without end, as programs write it: keep the text
        blocks = paragraphs(root.text(separator="\n"))
    return ParsedDocument(tuple(blocks), title)


def _main_part(tree: Any) -> Any:
    """The one element that says it is the main part and holds a good share of the text, or the body."""
    whole = len(tree.body.text())
    for selector in MAIN_PARTS:
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text()) >= MAIN_SHARE * whole:
            return found[0]
    return tree.body


class _Walker:
    """Collects inline text until a block begins or ends."""

    def __init__(self) -> None:
        self.inline: list[str] = []
        self.found: list[Block] = []

    def walk(self, node: Any) -> list[Block]:
        self._children(node)
        self._flush()
        return self.found

    def _children(self, node: Any) -> None:
        child = node.child
        while child is not None:
            self._node(child)
            child = child.next

    def _node(self, node: Any) -> None:
        tag = node.tag
        if tag == "-text":
            self.inline.append(LINE_BREAKS.sub(" ", node.text_content or ""))
        elif tag == "br":
            self.inline.append("\n")
        elif tag in BLOCK_TAGS:
            self._flush()
            self._block(tag, node)
        elif not tag.startswith(("-", "!")):
            self._children(node)

    def _block(self, tag: str, node: Any) -> None:
        if tag in HEADINGS:
            self._add(BlockKind.HEADING, _flat(node), int(tag[1]))
        elif tag == "pre":
            self._add(BlockKind.CODE, node.text().strip("\n"))
        elif tag == "table" and _holds_data(node):
            self._add(
                BlockKind.TABLE, markdown_table([[_flat(cell) for cell in row.css("td, th")] for row in node.css("tr")])
            )
        elif tag in {"ul", "ol"} and node.css_first(WHOLE_IN_LISTS) is None:
            self._add(BlockKind.LIST, "\n".join(_items(node, 0)))
        else:
            if tag == "li":
                self.inline.append("- ")
            self._children(node)
            self._flush(BlockKind.QUOTE if tag == "blockquote" else BlockKind.PARAGRAPH)

    def _flush(self, kind: BlockKind = BlockKind.PARAGRAPH) -> None:
        lines = (" ".join(line.split()) for line in "".join(self.inline).split("\n"))
        self.inline.clear()
        self._add(kind, "\n".join(line for line in lines if line not in {"", "-"}))

    def _add(self, kind: BlockKind, text: str, level: int | None = None) -> None:
        if text.strip():
            self.found.append(Block(kind, text, level=level))


def _holds_data(table: Any) -> bool:
    """Whether a table is one, and not there for the layout."""
    return table.css_first("table table") is None and len(table.css("tr")) > 1 and len(table.css("td, th")) > 2


def _items(node: Any, depth: int) -> list[str]:
    """The items of a list, nested ones indented."""
    lines: list[str] = []
    number = 0
    for item in node.iter():
        if item.tag != "li":
            continue
        number += 1
        mark = f"{number}." if node.tag == "ol" else "-"
        own = _flat(item, without=("ul", "ol"))
        if own:
            lines.append(f"{'  ' * depth}{mark} {own}")
        for inner in item.css("ul, ol"):
            if _list_around(inner, item):
                lines.extend(_items(inner, depth + 1))
    return lines


def _list_around(inner: Any, item: Any) -> bool:
    """Whether `inner` belongs to this item, and not to an item inside it."""
    parent = inner.parent
    while parent is not None and parent.tag != "li":
        parent = parent.parent
    return parent is not None and parent.mem_id == item.mem_id


def _flat(node: Any, without: tuple[str, ...] = ()) -> str:
    """The text of an element on one line; what stands on lines of its own is set apart."""
    parts: list[str] = []
    _gather(node, without, parts)
    return " ".join("".join(parts).split())


def _gather(node: Any, without: tuple[str, ...], parts: list[str]) -> None:
    child = node.child
    while child is not None:
        tag = child.tag
        if tag == "-text":
            parts.append(child.text_content or "")
        elif tag not in without:
            apart = tag in BLOCK_TAGS or tag == "br"
            parts.append(" " if apart else "")
            if not tag.startswith(("-", "!")):
                _gather(child, without, parts)
            parts.append(" " if apart else "")
        child = child.next
