"""PPTX: slides as pages; titles, texts, tables, charts, diagrams and notes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import PPTX, SUPPORTED
from knowledge.ingestion.parsers.office import check_container
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument

C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
NUMBERS = frozenset({f"{C}numCache", f"{C}numLit"})
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"


class PptxParser:
    """Presentations, slide shows and templates of PowerPoint 2007 and later."""

    name = "pptx"
    version = 1
    media_types: tuple[str, ...] = (PPTX,)
    extensions: tuple[str, ...] = SUPPORTED[PPTX]

    def parse(self, path: Path) -> ParsedDocument:
        from pptx.package import Package

        check_container(path)
        deck = Package.open(str(path)).main_document_part.presentation
        blocks = tuple(block for number, slide in enumerate(deck.slides, 1) for block in _slide(slide, number))
        return ParsedDocument(blocks, deck.core_properties.title or "", {"slides": len(deck.slides)})


def _slide(slide: Any, number: int) -> Iterator[Block]:
    """A slide under its title, or under its number where it has none."""
    title = slide.shapes.title
    name = " ".join(title.text_frame.text.split()) if title is not None else ""
    body = [
        block
        for shape in slide.shapes
        if title is None or shape.shape_id != title.shape_id
        for block in _shape(shape, number)
    ]
    body += _notes(slide, number)
    if name or body:
        yield Block(BlockKind.HEADING, name or f"Slide {number}", level=1, page=number)
    yield from body


def _notes(slide: Any, number: int) -> list[Block]:
    frame = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    text = frame.text.replace("\v", "\n").strip() if frame is not None else ""
    return [Block(BlockKind.PARAGRAPH, f"Notes: {text}", page=number)] if text else []


def _shape(shape: Any, number: int) -> Iterator[Block]:
    if hasattr(shape, "shapes"):
        for inner in shape.shapes:
            yield from _shape(inner, number)
    elif getattr(shape, "has_table", False):
        text = markdown_table([[cell.text for cell in row.cells] for row in shape.table.rows])
        if text:
            yield Block(BlockKind.TABLE, text, page=number)
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart, number)
    elif shape.has_text_frame:
        yield from _texts(shape.text_frame, number)
    else:
        yield from _diagram(shape, number)


def _texts(frame: Any, number: int) -> Iterator[Block]:
    """The paragraphs of a shape; several are a list, indented as on the slide."""
    found = [(one.level, one.text.replace("\v", "\n").strip()) for one in frame.paragraphs]
    lines = [(level, text) for level, text in found if text]
    if len(lines) == 1:
        yield Block(BlockKind.PARAGRAPH, lines[0][1], page=number)
    elif lines:
        yield Block(BlockKind.LIST, "\n".join(f"{'  ' * level}- {text}" for level, text in lines), page=number)


def _chart(chart: Any, number: int) -> Iterator[Block]:
    """A chart as its title and the table behind it."""
    title = chart.chart_title.text_frame.text.strip() if chart.has_title and chart.chart_title.has_text_frame else ""
    if title:
        yield Block(BlockKind.PARAGRAPH, title, page=number)
    rows = list(_chart_rows(chart.element))
    text = markdown_table(rows)
    if text:
        yield Block(BlockKind.TABLE, text, page=number)


def _chart_rows(chart_space: Any) -> Iterator[list[str]]:
    """A row for each category, a column for each series. Read from the XML, where every kind of chart is alike."""
    series = list(chart_space.iter(f"{C}ser"))
    names = ["".join(value.text or "" for tx in one.findall(f"{C}tx") for value in tx.iter(f"{C}v")) for one in series]
    labels: dict[int, str] = {}
    for one in series:
        labels = {**_points(one, "xVal"), **_points(one, "cat"), **labels}
    values = [_points(one, "yVal") | _points(one, "val") for one in series]
    if any(values):
        yield ["", *names]
    for index in sorted({*labels, *(index for one in values for index in one)} if any(values) else ()):
        yield [labels.get(index, ""), *(one.get(index, "") for one in values)]


def _points(series: Any, name: str) -> dict[int, str]:
    """The values or labels of a series by their places."""
    points = (point for axis in series.findall(f"{C}{name}") for point in axis.iter(f"{C}pt"))
    return {int(point.get("idx", 0)): _shown(point) for point in points}


def _shown(point: Any) -> str:
    text = point.findtext(f"{C}v") or ""
    is_number = point.getparent().tag in NUMBERS and NUMBER.fullmatch(text)
    return f"{float(text):.15g}" if is_number else text


def _diagram(shape: Any, number: int) -> Iterator[Block]:
    """The texts of a SmartArt diagram, which stand in a part of their own."""
    from pptx.oxml import parse_xml

    for reference in shape.element.iter(DIAGRAM):
        part = shape.part.related_part(reference.get(RELATION))
        paragraphs = (
            "".join(run.text or "" for run in one.iter(f"{A}t")).strip() for one in parse_xml(part.blob).iter(f"{A}p")
        )
        lines = [line for line in paragraphs if line]
        if lines:
            yield Block(BlockKind.LIST, "\n".join(f"- {line}" for line in lines), page=number)
