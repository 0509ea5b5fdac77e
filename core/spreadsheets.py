"""Texts in CSV files that people open in a spreadsheet: a cell that a program would take for a formula is made a text.

OWASP, "CSV Injection": cells that begin with = + - @ tab or carriage return are executed. An apostrophe in front makes
them texts; `original` takes it off again, so that a file can be read back unchanged.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
ROWS_AT_ONCE = 500


def neutral(text: str) -> str:
    """The text as a cell that no spreadsheet executes."""
    return f"'{text}" if text.startswith(DANGEROUS) else text


def original(cell: str) -> str:
    """The text that `neutral` was given."""
    return cell[1:] if cell.startswith("'") else cell


async def csv_lines(rows: Iterable[Sequence[object]]) -> AsyncIterator[bytes]:
    """The rows as RFC 4180 has them, some hundred at a time. Texts are neutralised; numbers stand as they are."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for number, row in enumerate(rows, start=1):
        writer.writerow([neutral(cell) if isinstance(cell, str) else cell for cell in row])
        if number % ROWS_AT_ONCE == 0:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()
