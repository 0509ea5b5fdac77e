"""Reports as rows of a CSV file, with a heading; the same file from the admin and from the API."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from django.http import StreamingHttpResponse

from core.spreadsheets import csv_lines
from observability.usage.query import GroupBy
from observability.usage.report import COUNTED, TOKENS, UsageRow

CONTENT_TYPE = "text/csv"


def csv_rows(rows: Sequence[UsageRow], group_by: GroupBy | None, names: Mapping[str, str]) -> Iterator[list[object]]:
    """Times with their offset, tokens, milliseconds, and a column of cost for each currency."""
    currencies = sorted({currency for row in rows for currency in row.figures.cost})
    group = [group_by.value, f"{group_by.value}_name"] if group_by else []
    yield [
        "start",
        *group,
        *COUNTED,
        *TOKENS,
        *(f"cost_{one}" for one in currencies),
        *(f"{p}_ms" for p in ("p50", "p95", "p99")),
    ]
    for row in rows:
        figures, latency = row.figures, row.figures.latency
        yield [
            row.start.isoformat() if row.start else "",
            *([row.group or "", names.get(row.group or "", "")] if group_by else []),
            *(getattr(figures, name) for name in (*COUNTED, *TOKENS)),
            *(figures.cost.get(one, "") for one in currencies),
            *("" if one is None else round(one, 1) for one in (latency.p50, latency.p95, latency.p99)),
        ]


def csv_response(rows: Iterator[list[object]]) -> StreamingHttpResponse:
    """The file as a download."""
    lines: AsyncIterator[bytes] = csv_lines(rows)
    headers = {"Content-Disposition": 'attachment; filename="usage.csv"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(lines, content_type=f"{CONTENT_TYPE}; charset=utf-8", headers=headers)
