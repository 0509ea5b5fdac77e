"""DOCX: headings, paragraphs, lists, tables, text boxes, the text of equations."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import DOCX, SUPPORTED
from knowledge.ingestion.parsers.office import opened
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
HEADING = re.compile(r"heading (\d)|title$", re.I)


class DocxParser:
    name = "docx"
    version = 1
    media_types: tuple[str, ...] = (DOCX,)
    extensions: tuple[str, ...] = SUPPORTED[DOCX]

    def parse(self, path: Path) -> ParsedDocument:
        import docx

        with opened(path):
            document = docx.Document(str(path))
        blocks = tuple(_merged(_blocks(document)))
        properties = document.core_properties
        metadata = {name: value for name in ("author", "subject", "keywords") if (value := getattr(properties, name))}
        return ParsedDocument(blocks, properties.title or "", metadata)


def _blocks(document: Any) -> Iterator[Block]:
    styles = {style.style_id: style.name or "" for style in document.styles}
    for element in document.element.body:
        if element.tag == f"{W}p":
            yield from _paragraph(element, styles)
        elif element.tag == f"{W}tbl":
            yield from _table(element)
        elif element.tag == f"{W}sdt":
            for inner in element.iter(f"{W}p"):
                yield from _paragraph(inner, styles)


def _paragraph(element: Any, styles: dict[str, str]) -> Iterator[Block]:
    text = _text(element).strip()
    properties = element.find(f"{W}pPr")
    style_node = properties.find(f"{W}pStyle") if properties is not None else None
    style = styles.get(style_node.get(f"{W}val"), "") if style_node is not None else ""
    heading = HEADING.match(style)
    numbered = properties is not None and properties.find(f"{W}numPr") is not None
    if text and heading:
        yield Block(BlockKind.HEADING, " ".join(text.split()), level=int(heading[1] or 1))
    elif text and (numbered or style.lower().startswith("list")):
        yield Block(BlockKind.LIST, f"- {text}")
    elif text:
        yield Block(BlockKind.PARAGRAPH, text)
    for box in element.iter(f"{W}txbxContent"):
        if any(parent.tag == f"{MC}Fallback" for parent in box.iterancestors()):
            continue  # the same box again, for old programs
        inside = "\n".join(filter(None, (_text(p).strip() for p in box.iter(f"{W}p"))))
        if inside:
            yield Block(BlockKind.PARAGRAPH, inside)


def _text(element: Any) -> str:
    """The text of a paragraph in order, equations among it; without text boxes, which come on their own."""
    parts: list[str] = []
    for node in element.iter(f"{W}t", f"{W}tab", f"{W}br", f"{W}cr", f"{M}t"):
        if any(p.tag in {f"{W}txbxContent", f"{MC}Fallback"} for p in _between(node, element)):
            continue
        if node.tag in {f"{W}t", f"{M}t"}:
            parts.append(node.text or "")
        else:
            parts.append("\t" if node.tag == f"{W}tab" else "\n")
    return "".join(parts)


def _between(node: Any, ancestor: Any) -> Iterator[Any]:
    for parent in node.iterancestors():
        if parent is ancestor:
            return
        yield parent


def _table(element: Any) -> Iterator[Block]:
    rows = [
        [" ".join(_text(p) for p in cell.iter(f"{W}p")) for cell in row.findall(f"{W}tc")]
        for row in element.findall(f"{W}tr")
    ]
    text = markdown_table(rows)
    if text:
        yield Block(BlockKind.TABLE, text)


def _merged(blocks: Iterator[Block]) -> Iterator[Block]:
    """Items that follow each other are one list."""
    items: list[str] = []
    for block in blocks:
        if block.kind is BlockKind.LIST:
            items.append(block.text)
            continue
        if items:
            yield Block(BlockKind.LIST, "\n".join(items))
            items = []
        yield block
    if items:
        yield Block(BlockKind.LIST, "\n".join(items))
