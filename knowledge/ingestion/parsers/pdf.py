"""PDF through pdfium: pages, lines joined to paragraphs, headings by size of type."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import PDF, SUPPORTED
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

HYPHENATED = re.compile(r"(\w{2,})[-\u00ad\u2010\ufffe]\Z")
LIST_ITEM = re.compile(r"\s*(?:[-–•▪◦‣·*]|\d{1,2}[.)])\s+\S")
HEADING_RATIO = 1.15
MAX_HEADING = 120


@dataclass(frozen=True)
class _Line:
    """A line of a page. size: of its type, in points; gap: white space above it, in line heights."""

    text: str
    size: float
    gap: float


class PdfParser:
    name = "pdf"
    version = 1
    media_types = (PDF,)
    extensions = SUPPORTED[PDF]

    def parse(self, path: Path) -> ParsedDocument:
        import pypdfium2

        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise _cannot_open(error) from None
        try:
            pages = [_lines(document, number) for number in range(len(document))]
            metadata = {key.lower(): value for key, value in document.get_metadata_dict().items() if value}
        finally:
            document.close()
        if not any(pages):
            raise ParseError("no_text", _no_text(len(pages)))
        body = _body_size(pages)
        blocks = tuple(block for number, lines in enumerate(pages, 1) for block in _blocks(lines, number, body))
        return ParsedDocument(blocks, metadata.get("title", ""), {**metadata, "pages": len(pages)})


def _cannot_open(error: Exception) -> ParseError:
    if "password" in str(error).lower():
        return ParseError("encrypted", "The PDF is protected with a password. Save it without one and upload it again.")
    return ParseError("damaged", "The PDF is damaged and cannot be opened.")


def _no_text(pages: int) -> str:
    if pages == 0:
        return "The PDF has no pages that can be read."
    return "The pages hold no text. If they are scans, they need text recognition (OCR), which Magnet does not do."


def _lines(document: Any, number: int) -> list[_Line]:
    """The lines of a page in pdfium's reading order; a page that cannot be loaded has none."""
    import pypdfium2

    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return []
    text_page = page.get_textpage()
    try:
        text = text_page.get_text_range()
        return _measured(text_page, text.replace("\r\n", "\n").replace("\r", "\n"), text)
    finally:
        text_page.close()
        page.close()


def _measured(text_page: Any, text: str, raw: str) -> list[_Line]:
    """Each line with its size and the gap above it, from the boxes of its first visible character."""
    lines: list[_Line] = []
    position, above = 0, None
    newline = 2 if "\r\n" in raw else 1
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped:
            box = _box(text_page, position + len(line) - len(line.lstrip()))
            height = max(box[1] - box[0], 1.0)
            gap = 0.0 if above is None else (above - box[1]) / height
            lines.append(_Line(stripped, _size(text_page, position + len(line) - len(line.lstrip())), gap))
            above = box[0]
        position += len(line) + newline
    return lines


def _box(text_page: Any, index: int) -> tuple[float, float]:
    """Bottom and top of a character, loose: the line's, not the glyph's."""
    import pypdfium2

    try:
        _, bottom, _, top = text_page.get_charbox(index, loose=True)
    except pypdfium2.PdfiumError:
        return (0.0, 0.0)
    return (bottom, top)


def _size(text_page: Any, index: int) -> float:
    from pypdfium2 import raw

    return round(float(raw.FPDFText_GetFontSize(text_page.raw, index)), 1)


def _body_size(pages: list[list[_Line]]) -> float:
    """The size of type that most characters have."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _blocks(lines: list[_Line], page: int, body: float) -> Iterator[Block]:
    paragraph: list[str] = []
    before: _Line | None = None
    for line in lines:
        heading = _is_heading(line, body)
        starts = before is None or line.gap > 0.6 or line.gap < -2 or bool(LIST_ITEM.match(line.text))
        if heading or starts or (before is not None and abs(line.size - before.size) > 0.6):
            yield from _paragraph(paragraph, page)
            paragraph = []
        if heading:
            yield Block(BlockKind.HEADING, line.text, level=1 if line.size > 1.5 * body else 2, page=page)
        else:
            paragraph.append(line.text)
        before = line
    yield from _paragraph(paragraph, page)


def _is_heading(line: _Line, body: float) -> bool:
    large = body > 0 and line.size >= HEADING_RATIO * body
    return large and len(line.text) <= MAX_HEADING and any(char.isalpha() for char in line.text)


def _paragraph(lines: list[str], page: int) -> Iterator[Block]:
    if not lines:
        return
    text = lines[0]
    for line in lines[1:]:
        broken = HYPHENATED.search(text)
        if broken and line[:1].islower():
            text = text[:-1] + line
        else:
            text = f"{text} {line}" if not text.endswith("-") else f"{text}{line}"
    yield Block(BlockKind.LIST if LIST_ITEM.match(text) else BlockKind.PARAGRAPH, text, page=page)
