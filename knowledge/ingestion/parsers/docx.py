"""DOCX: headings, paragraphs, lists, tables, text boxes, notes, the text of equations."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import DOCX, SUPPORTED
from knowledge.ingestion.parsers.docx_equations import M, equation_text
from knowledge.ingestion.parsers.office import check_container
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
CHARACTERS = {f"{W}tab": "\t", f"{W}ptab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-"}
WITHOUT_TEXT = frozenset(
    {f"{W}pPr", f"{W}rPr", f"{W}del", f"{W}moveFrom", f"{W}rt", f"{W}txbxContent", f"{MC}Fallback", f"{W}instrText"}
)
WRAPPERS = frozenset({f"{W}sdt", f"{W}sdtContent", f"{W}customXml", f"{W}ins", f"{W}moveTo"})
NOTES = {f"{W}footnoteReference": "footnotes", f"{W}endnoteReference": "endnotes"}
PRIVATE_USE = 0xD800  # from here on surrogates, then characters that mean something in one font alone
HEADING = re.compile(r"heading (\d)|title$", re.I)
CODE = re.compile(r"html preformatted|(?:source )?code\b|macro|verbatim", re.I)
OTHER_MAIN_TYPES = (
    "application/vnd.ms-word.document.macroEnabled.main+xml",
    "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
)


class DocxParser:
    """Documents and templates of Word 2007 and later. Deleted text of tracked changes is left out."""

    name = "docx"
    version = 1
    media_types: tuple[str, ...] = (DOCX,)
    extensions: tuple[str, ...] = SUPPORTED[DOCX]

    def parse(self, path: Path) -> ParsedDocument:
        from docx.opc.part import PartFactory
        from docx.package import Package
        from docx.parts.document import DocumentPart

        check_container(path)
        for media_type in OTHER_MAIN_TYPES:  # the library reads them as well, but docx.Document() refuses
            PartFactory.part_type_for[media_type] = DocumentPart
        document = Package.open(str(path)).main_document_part.document
        properties = document.core_properties
        metadata = {name: value for name in ("author", "subject", "keywords") if (value := getattr(properties, name))}
        blocks = tuple(_merged(_Reader(document).blocks(document.element.body)))
        return ParsedDocument(blocks, properties.title or "", metadata)


class _Reader:
    def __init__(self, document: Any) -> None:
        self.levels = {style.style_id: _heading_level(style) for style in document.styles}
        self.lists = {style.style_id for style in document.styles if (style.name or "").lower().startswith("list")}
        self.code = {style.style_id for style in document.styles if CODE.match(style.name or "")}
        self.notes = {kind: _notes(document, kind) for kind in NOTES.values()}

    def blocks(self, container: Any) -> Iterator[Block]:
        for element in container:
            if element.tag == f"{W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{W}tbl":
                text = markdown_table(_rows(element))
                if text:
                    yield Block(BlockKind.TABLE, text)
            elif element.tag in WRAPPERS:
                yield from self.blocks(element)

    def _paragraph(self, element: Any) -> Iterator[Block]:
        raw = _text(element)
        text = raw.strip()
        style_node = element.find(f"{W}pPr/{W}pStyle")
        style = style_node.get(f"{W}val") if style_node is not None else ""
        numbering = element.find(f"{W}pPr/{W}numPr")
        level = self.levels.get(style)
        if text and level is not None:
            yield Block(BlockKind.HEADING, " ".join(text.split()), level=level)
        elif text and (numbering is not None or style in self.lists):
            depth = numbering.find(f"{W}ilvl") if numbering is not None else None
            indent = "  " * int(depth.get(f"{W}val", 0)) if depth is not None else ""
            yield Block(BlockKind.LIST, f"{indent}- {text}")
        elif text and style in self.code:
            yield Block(BlockKind.CODE, raw.rstrip())
        elif text:
            yield Block(BlockKind.PARAGRAPH, text)
        yield from self._boxes(element)
        for tag, kind in NOTES.items():
            for reference in element.iter(tag):
                note = self.notes[kind].get(reference.get(f"{W}id"), "")
                if note:
                    yield Block(BlockKind.PARAGRAPH, f"Note: {note}")

    @staticmethod
    def _boxes(element: Any) -> Iterator[Block]:
        for box in element.iter(f"{W}txbxContent"):
            text = "\n".join(filter(None, (_text(paragraph).strip() for paragraph in box.iter(f"{W}p"))))
            if text and not _is_repeated(box):
                yield Block(BlockKind.PARAGRAPH, text)


def _heading_level(style: Any) -> int | None:
    """By the built-in name, or the outline level that the style or one it is based on has."""
    for _ in range(10):
        named = HEADING.match(style.name or "")
        if named:
            return int(named[1] or 1)
        outline = style.element.find(f"{W}pPr/{W}outlineLvl")
        if outline is not None:
            level = int(outline.get(f"{W}val", 9))
            return level + 1 if level < 9 else None
        style = getattr(style, "base_style", None)
        if style is None:
            break
    return None


def _notes(document: Any, kind: str) -> dict[str, str]:
    """The texts of footnotes or endnotes by their ids."""
    from docx.oxml import parse_xml

    for relation in document.part.rels.values():
        if relation.reltype.endswith(f"/{kind}") and not relation.is_external:
            notes = parse_xml(relation.target_part.blob)
            return {note.get(f"{W}id"): " ".join(_text(note).split()) for note in notes}
    return {}


def _text(node: Any) -> str:
    """The text of a paragraph in order, equations among it; without text boxes, which come on their own."""
    parts: list[str] = []
    for child in node:
        if child.tag == f"{W}t":
            parts.append(child.text or "")
        elif child.tag in CHARACTERS:
            parts.append(CHARACTERS[child.tag])
        elif child.tag == f"{W}sym":
            code = int(child.get(f"{W}char", "0"), 16)
            parts.append(chr(code) if 0x20 <= code < PRIVATE_USE else "")
        elif child.tag == f"{M}oMath":
            parts.append(equation_text(child))
        elif isinstance(child.tag, str) and child.tag not in WITHOUT_TEXT:
            parts.append(_text(child))
    return "".join(parts)


def _is_repeated(element: Any) -> bool:
    """Whether it is the same text again, for programs that do not know text boxes."""
    return next(element.iterancestors(f"{MC}Fallback"), None) is not None


def _rows(table: Any) -> Iterator[list[str]]:
    for row in table.findall(f"{W}tr"):
        cells: list[str] = []
        for cell in row.iter(f"{W}tc"):
            if next(cell.iterancestors(f"{W}tr")) is not row:
                continue  # of a table inside a cell, whose text comes with that cell
            cells.append(" ".join(_text(paragraph) for paragraph in cell.iter(f"{W}p") if not _is_repeated(paragraph)))
            span = cell.find(f"{W}tcPr/{W}gridSpan")
            cells.extend([""] * (min(int(span.get(f"{W}val", 1)), 100) - 1) if span is not None else [])
        yield cells


def _merged(blocks: Iterator[Block]) -> Iterator[Block]:
    """Items that follow each other are one list, lines of code one listing."""
    for kind, group in groupby(blocks, key=lambda block: block.kind):
        if kind in {BlockKind.LIST, BlockKind.CODE}:
            yield Block(kind, "\n".join(block.text for block in group))
        else:
            yield from group
