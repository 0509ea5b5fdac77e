"""PPTX: slides as pages; titles, texts, tables, charts and notes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import PPTX, SUPPORTED
from knowledge.ingestion.parsers.office import opened
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument


class PptxParser:
    name = "pptx"
    version = 1
    media_types: tuple[str, ...] = (PPTX,)
    extensions: tuple[str, ...] = SUPPORTED[PPTX]

    def parse(self, path: Path) -> ParsedDocument:
        import pptx

        with opened(path):
            deck = pptx.Presentation(str(path))
        blocks = tuple(block for number, slide in enumerate(deck.slides, 1) for block in _slide(slide, number))
        return ParsedDocument(blocks, deck.core_properties.title or "")


def _slide(slide: Any, number: int) -> Iterator[Block]:
    title = slide.shapes.title
    name = " ".join(title.text_frame.text.split()) if title is not None else ""
    yield Block(BlockKind.HEADING, name or f"Slide {number}", level=1, page=number)
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape(shape, number)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            yield Block(BlockKind.PARAGRAPH, f"Notes: {notes}", page=number)


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
        lines = [paragraph.text.replace("\v", "\n").strip() for paragraph in shape.text_frame.paragraphs]
        text = "\n".join(line for line in lines if line)
        if text:
            yield Block(BlockKind.LIST if "\n" in text else BlockKind.PARAGRAPH, text, page=number)


def _chart(chart: Any, number: int) -> Iterator[Block]:
    """A chart as the table behind it."""
    title = chart.chart_title.text_frame.text.strip() if chart.has_title and chart.chart_title.has_text_frame else ""
    if title:
        yield Block(BlockKind.PARAGRAPH, title, page=number)
    for plot in chart.plots:
        series = list(plot.series)
        categories = [str(category) for category in plot.categories]
        rows = [["", *(one.name or "" for one in series)]]
        for index, category in enumerate(categories):
            values = [list(one.values) for one in series]
            rows.append([category, *(str(value[index]) if index < len(value) else "" for value in values)])
        text = markdown_table(rows)
        if text:
            yield Block(BlockKind.TABLE, text, page=number)
