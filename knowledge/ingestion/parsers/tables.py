"""Tables as Markdown rows, the form in which people and models read them best."""

from collections.abc import Iterable, Sequence


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows as `| a | b |`, the first one as the head; rows and columns without any text are left out."""
    cleaned = [[_cell(cell) for cell in row] for row in rows]
    kept = [row for row in cleaned if any(row)]
    columns = sorted({index for row in kept for index, cell in enumerate(row) if cell})
    lines = ["| " + " | ".join(row[index] if index < len(row) else "" for index in columns) + " |" for row in kept]
    if len(lines) > 1:
        lines.insert(1, "|" + " --- |" * len(columns))
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
