"""CSV and its relatives: any usual separator, any encoding, ragged rows kept."""

import csv
import io
from pathlib import Path

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import CSV, SUPPORTED
from knowledge.ingestion.parsers.tables import markdown_table
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

SEPARATORS = ",;\t|"
SAMPLE = 20_000


class CsvParser:
    """One table; the first row is taken for the head."""

    name = "csv"
    version = 1
    media_types: tuple[str, ...] = (CSV,)
    extensions: tuple[str, ...] = SUPPORTED[CSV]

    def parse(self, path: Path) -> ParsedDocument:
        text = decode(path.read_bytes()).replace("\x00", "")
        csv.field_size_limit(10_000_000)
        try:
            table = markdown_table(list(csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))))
        except csv.Error as error:
            raise ParseError("damaged", f"The table cannot be read: {error}.") from None
        return ParsedDocument((Block(BlockKind.TABLE, table),) if table else ())


def _separator(text: str) -> str:
    """The separator that divides the first lines most evenly; a comma when nothing does."""
    lines = text[:SAMPLE].splitlines()[:20]
    counts = {mark: [line.count(mark) for line in lines if line.strip()] for mark in SEPARATORS}
    return max(SEPARATORS, key=lambda mark: (min(counts[mark], default=0), sum(counts[mark])))
