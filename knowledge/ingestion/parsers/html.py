"""HTML through lexbor: headings, paragraphs, lists, tables and code of the page's main part."""

import re
from pathlib import Path
from typing import Any

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import HTML, SUPPORTED
from knowledge.ingestion.parsers.tables import markdown_table
from knowledge.ingestion.parsers.text import paragraphs
from plugins.contracts import Block, BlockKind, ParsedDocument

NOISE = frozenset(
    """
    script style noscript template svg canvas iframe object embed nav button select textarea head
    """.split()  # noqa: SIM905  # as below
)
HIDDEN = "[hidden], [aria-hidden=true], [role=navigation]"
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
    if tree.body is None:
        return ParsedDocument((), title)
    try:
        blocks = _Page(tree).blocks()
    except RecursionError:  # nested without end, as programs write it: keep the text
        tree.strip_tags(["script", "style"])
        blocks = paragraphs(tree.body.text(separator="\n"))
    return ParsedDocument(tuple(blocks), title)


class _Page:
    """Walks the tree and collects inline text until a block begins or ends.

    Noise is stepped over and not removed: lexbor frees what is removed, and one piece of noise may stand in another.
    """

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self.hidden = {node.mem_id for node in tree.css(HIDDEN)}
        self.inline: list[str] = []
        self.found: list[Block] = []

    def blocks(self) -> list[Block]:
        self._children(self._main_part())
        self._flush()
        return self.found

    def _main_part(self) -> Any:
        """The one element that says it is the main part and holds a good share of the text, or the body."""
        body = self.tree.body
        for selector in MAIN_PARTS:
            found = self.tree.css(selector)
            if len(found) == 1 and len(self._flat(found[0])) >= MAIN_SHARE * len(self._flat(body)):
                return found[0]
        return body

    def _is_noise(self, node: Any) -> bool:
        return node.tag in NOISE or node.mem_id in self.hidden

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
            if not self._is_noise(node):
                self._block(tag, node)
        elif not tag.startswith(("-", "!")) and not self._is_noise(node):
            self._children(node)

    def _block(self, tag: str, node: Any) -> None:
        if tag in HEADINGS:
            self._add(BlockKind.HEADING, self._flat(node), int(tag[1]))
        elif tag == "pre":
            self._add(BlockKind.CODE, node.text().strip("\n"))
        elif tag == "table" and _holds_data(node):
            self._add(BlockKind.TABLE, markdown_table(self._rows(node)))
        elif tag in {"ul", "ol"} and node.css_first(WHOLE_IN_LISTS) is None:
            self._add(BlockKind.LIST, "\n".join(self._items(node, 0)))
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

    def _rows(self, table: Any) -> list[list[str]]:
        return [[self._flat(cell) for cell in row.css("td, th")] for row in table.css("tr")]

    def _items(self, node: Any, depth: int) -> list[str]:
        """The items of a list, nested ones indented."""
        lines: list[str] = []
        number = 0
        for item in node.iter():
            if item.tag != "li" or self._is_noise(item):
                continue
            number += 1
            mark = f"{number}." if node.tag == "ol" else "-"
            own = self._flat(item, without=("ul", "ol"))
            if own:
                lines.append(f"{'  ' * depth}{mark} {own}")
            for inner in item.css("ul, ol"):
                if _item_around(inner) == item.mem_id:
                    lines.extend(self._items(inner, depth + 1))
        return lines

    def _flat(self, node: Any, without: tuple[str, ...] = ()) -> str:
        """The text of an element on one line; what stands on lines of its own is set apart."""
        parts: list[str] = []
        self._gather(node, without, parts)
        return " ".join("".join(parts).split())

    def _gather(self, node: Any, without: tuple[str, ...], parts: list[str]) -> None:
        child = node.child
        while child is not None:
            tag = child.tag
            if tag == "-text":
                parts.append(child.text_content or "")
            elif tag not in without and not tag.startswith(("-", "!")) and not self._is_noise(child):
                apart = " " if tag in BLOCK_TAGS or tag == "br" else ""
                parts.append(apart)
                self._gather(child, without, parts)
                parts.append(apart)
            child = child.next


def _holds_data(table: Any) -> bool:
    """Whether a table is one, and not there for the layout."""
    return table.css_first("table table") is None and len(table.css("tr")) > 1 and len(table.css("td, th")) > 2


def _item_around(inner: Any) -> int | None:
    """The identity of the nearest list item around a list."""
    parent = inner.parent
    while parent is not None and parent.tag != "li":
        parent = parent.parent
    return None if parent is None else parent.mem_id
