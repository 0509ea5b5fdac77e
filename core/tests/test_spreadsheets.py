"""CSV files that a spreadsheet does not execute and a program reads back."""

import csv
import io

import pytest

from core.spreadsheets import ROWS_AT_ONCE, csv_lines, neutral, original

TEXTS = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "''", "plain", "", "a=1", "é"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_cell_is_a_formula_and_all_come_back(text):
    assert not neutral(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert original(neutral(text)) == text


async def test_a_file_is_written_in_pieces_and_read_back():
    rows = [(text, -1.5, None) for text in TEXTS] * 100

    pieces = [piece async for piece in csv_lines(rows)]

    assert len(pieces) == len(rows) // ROWS_AT_ONCE + 1
    read = list(csv.reader(io.StringIO(b"".join(pieces).decode(), newline="")))
    assert [(original(text), number, empty) for text, number, empty in read] == [(t, "-1.5", "") for t, _, _ in rows]
