"""PDF through pdfium: the lines of every page with their place and type, in pdfium's reading order."""

import ctypes
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from knowledge.ingestion.parsers.pdf_layout import Line, blocks_of
from plugins.contracts import ParsedDocument, ParseError

LINE_END = re.compile("\r\n|[\r\n\x02\ufffe]")
HYPHENS = "\x02\ufffe"  # how pdfium writes a hyphen at the end of a line, in place of the line break
BOLD_NAME = re.compile(rb"bold|black|heavy|semibold|cmbx|-bd", re.I)
TOOL_TITLE = re.compile(
    r"untitled.*|microsoft (?:word|powerpoint|excel) - .*|.*\.(?:docx?|dvi|indd|pptx?|xlsx?|tex|pdf)", re.I
)
PASSWORD_ERRORS = (4, 5)  # FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY
FONT_NAME_BYTES = 96


class PdfParser:
    """Paragraphs by the gaps between lines, headings by size and weight of type."""

    name = "pdf"
    version = 1
    media_types: tuple[str, ...] = ("application/pdf",)
    extensions: tuple[str, ...] = (".pdf",)

    def parse(self, path: Path) -> ParsedDocument:
        import pypdfium2

        try:
            document = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise _cannot_open(error) from None
        try:
            pages = [page for number in range(len(document)) if (page := _page(document, number)) is not None]
            if not any(pages):
                raise _without_text(document, len(pages))
            count, metadata = len(document), _metadata(document.get_metadata_dict())
        finally:
            document.close()
        return ParsedDocument(tuple(blocks_of(pages)), metadata.pop("title", ""), {**metadata, "pages": count})


def _cannot_open(error: Any) -> ParseError:
    if getattr(error, "err_code", None) in PASSWORD_ERRORS:
        return ParseError("encrypted", "The PDF is protected with a password. Save it without one and upload it again.")
    return ParseError("damaged", "The PDF is damaged and cannot be opened.")


def _without_text(document: Any, readable: int) -> ParseError:
    """Why no page gave any text."""
    from pypdfium2 import PdfiumError, raw

    if readable == 0:
        return ParseError("damaged", "The PDF is damaged: none of its pages can be opened.")
    for number in range(len(document)):
        try:
            page = document[number]
        except PdfiumError:
            continue
        if any(page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH), max_depth=3)):
            break
    else:
        return ParseError("no_text", "The pages of the PDF are blank.")
    return ParseError("no_text", "The pages of the PDF are pictures. Reading them needs OCR, which Magnet does not do.")


def _metadata(found: Mapping[str, str]) -> dict[str, str]:
    """What the file says about itself, without titles that a program made up."""
    metadata = {key.lower(): value.strip() for key, value in found.items() if value.strip()}
    if TOOL_TITLE.fullmatch(metadata.get("title", "")):
        del metadata["title"]
    return metadata


def _page(document: Any, number: int) -> list[Line] | None:
    """The lines of a page; None for a page that cannot be opened."""
    from pypdfium2 import PdfiumError

    try:
        page = document[number]
        text_page = page.get_textpage()
    except PdfiumError:
        return None
    try:
        return list(_Reader(text_page, number + 1).lines())
    finally:
        text_page.close()
        page.close()


class _Reader:
    """Asks pdfium for the place and type of each line, through few calls and no objects: this is the inner loop."""

    def __init__(self, text_page: Any, page: int) -> None:
        from pypdfium2 import raw

        self.raw = raw
        self.text_page = text_page
        self.page = page
        self.x, self.y = ctypes.c_double(), ctypes.c_double()
        self.box, self.matrix = raw.FS_RECTF(), raw.FS_MATRIX()
        self.font_name, self.flags = ctypes.create_string_buffer(FONT_NAME_BYTES), ctypes.c_int()

    def lines(self) -> Iterator[Line]:
        text = self.text_page.get_text_range()
        start = 0
        for end in [*LINE_END.finditer(text), None]:
            stop = end.start() if end else len(text)
            line = text[start:stop]
            stripped = line.strip()
            if stripped:
                first = start + len(line) - len(line.lstrip())
                hyphenated = end is not None and end[0] in HYPHENS
                yield self._line(stripped, first, first + len(stripped) - 1, hyphenated)
            start = end.end() if end else stop

    def _line(self, text: str, first: int, last: int, hyphenated: bool) -> Line:
        raw, handle = self.raw, self.text_page.raw
        first = max(0, raw.FPDFText_GetCharIndexFromTextIndex(handle, first))
        last = max(first, raw.FPDFText_GetCharIndexFromTextIndex(handle, last))
        raw.FPDFText_GetCharOrigin(handle, first, self.x, self.y)
        raw.FPDFText_GetLooseCharBox(handle, last, self.box)
        raw.FPDFText_GetMatrix(handle, first, self.matrix)
        size = raw.FPDFText_GetFontSize(handle, first) * math.hypot(self.matrix.c, self.matrix.d)
        left, right, baseline = self._place()
        return Line(
            text=text,
            page=self.page,
            left=left,
            right=right,
            baseline=baseline,
            size=round(size, 1),
            bold=self._bold(first) and self._bold(last),
            hyphenated=hyphenated,
        )

    def _place(self) -> tuple[float, float, float]:
        """Where the line begins and ends along its direction, and its height across it; lines may run sideways."""
        x, y, box = self.x.value, self.y.value, self.box
        length = math.hypot(self.matrix.a, self.matrix.b)
        if length == 0 or (self.matrix.b == 0 and self.matrix.a > 0):
            return x, box.right, y
        cos, sin = self.matrix.a / length, self.matrix.b / length
        corners = ((box.left, box.bottom), (box.left, box.top), (box.right, box.bottom), (box.right, box.top))
        end = max(corner_x * cos + corner_y * sin for corner_x, corner_y in corners)
        return x * cos + y * sin, end, y * cos - x * sin

    def _bold(self, index: int) -> bool:
        self.raw.FPDFText_GetFontInfo(self.text_page.raw, index, self.font_name, FONT_NAME_BYTES, self.flags)
        return BOLD_NAME.search(self.font_name.value) is not None
