"""XLSX: each sheet a page with its name as heading and its cells as a table; formulas by their stored values."""

import datetime
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knowledge.ingestion.media_types import SUPPORTED, XLSX
from knowledge.ingestion.parsers.office import check_container
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

PERCENT = re.compile(r"(\.0+)?%")
MAX_CELLS = 2_000_000


class XlsxParser:
    """Workbooks of Excel 2007 and later, read row by row."""

    name = "xlsx"
    version = 1
    media_types: tuple[str, ...] = (XLSX,)
    extensions: tuple[str, ...] = SUPPORTED[XLSX]

    def parse(self, path: Path) -> ParsedDocument:
        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException

        check_container(path)
        try:
            book = openpyxl.load_workbook(path.open("rb"), read_only=True, data_only=True)
        except (InvalidFileException, KeyError, zipfile.BadZipFile) as error:
            raise ParseError("damaged", "The workbook is damaged and cannot be opened.") from error
        blocks = tuple(block for number, sheet in enumerate(book.worksheets, 1) for block in _sheet(sheet, number))
        return ParsedDocument(blocks, book.properties.title or "", {"sheets": ", ".join(book.sheetnames)[:2000]})


def _sheet(sheet: Any, number: int) -> Iterator[Block]:
    sheet.reset_dimensions()  # a wrong dimension record hides rows
    rows: list[list[str]] = []
    cells = 0
    for row in sheet.iter_rows():
        rows.append([_shown(cell) for cell in row])
        cells += len(row)
        if cells > MAX_CELLS:
            raise ParseError("too_large", f"The sheet '{sheet.title}' has more than {MAX_CELLS:,} cells.")
    text = markdown_table(rows)
    if text:
        yield Block(BlockKind.HEADING, sheet.title, level=1, page=number)
        yield Block(BlockKind.TABLE, text, page=number)


def _shown(cell: Any) -> str:
    """A cell as a person reads it."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    if isinstance(value, int | float) and not isinstance(value, bool):
        percent = PERCENT.search(cell.number_format)
        return f"{value:.{len(percent[1] or '.') - 1}%}" if percent else f"{value:.15g}"  # Excel keeps 15 digits
    return str(value)
