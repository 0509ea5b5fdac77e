"""Reports of usage from the roll-ups and, in the same statement, from the calls that are not rolled up yet.

So a call shows at once, and never twice: a statement sees it either as a record or in a sum.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any

from django.db import connection

from observability.choices import Grain
from observability.usage.latency import BUCKET_SQL, GAMMA, Percentiles, percentiles
from observability.usage.query import GroupBy, Interval, Period, UsageQuery, check_steps, refused
from observability.usage.rollup import hours_since

MAX_ROWS = 20_000

GROUPS = {
    GroupBy.MODEL: "provider_slug || '/' || model_slug",
    GroupBy.TOOL: "CASE WHEN target_slug = '' THEN target_kind ELSE target_kind || ':' || target_slug END",
    GroupBy.KEY: "coalesce(key_id::text, '')",
    GroupBy.USER: "coalesce(user_id::text, '')",
    GroupBy.PROVIDER: "provider_slug",
    GroupBy.OPERATION: "operation",
    GroupBy.STATUS: "status",
}
COUNTED = ("calls", "errors", "estimated", "unpriced")
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
DIMENSIONS = "operation, provider_slug, model_slug, target_kind, target_slug, key_id, user_id, status, currency"

ROLLED = f"""
    SELECT start, {DIMENSIONS}, calls, estimated, unpriced, {", ".join(TOKENS)}, cost, latency_buckets, latency_counts
    FROM observability_usagerollup
    WHERE workspace_id = %(workspace)s AND grain = %(grain_{{n}})s AND start >= %(from_{{n}})s AND start < %(to_{{n}})s
"""  # noqa: S608  # names of our own columns; values are parameters
TAIL = f"""
    SELECT date_trunc('hour', created_at, 'UTC'), {DIMENSIONS}, 1, estimated::int, (cost IS NULL)::int,
           {", ".join(TOKENS)}, coalesce(cost, 0), ARRAY[{BUCKET_SQL}], ARRAY[1::bigint]
    FROM observability_usagerecord
    WHERE NOT rolled_up AND workspace_id = %(workspace)s AND created_at >= %(start)s AND created_at < %(end)s
"""  # noqa: S608  # the same


@dataclass
class Figures:
    """What was used. cost: by currency, of the calls whose price is known; unpriced counts the others."""

    calls: int = 0
    errors: int = 0
    estimated: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    latency: Percentiles = field(default_factory=Percentiles)

    @property
    def tokens(self) -> int:
        """In and out; cached and reasoning tokens are parts of these."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class UsageRow:
    """Figures of a step of time, a group, both, or of the whole period."""

    start: datetime | None
    group: str | None
    figures: Figures


@dataclass(frozen=True)
class Piece:
    """A part of a period that is read from rows of one grain."""

    grain: Grain
    start: datetime
    end: datetime


class Level(IntEnum):
    """What a report is split by; a bit says that it is not split by time (2), or by group (1)."""

    BOTH = 0
    STEP = 1
    GROUP = 2
    WHOLE = 3


SETS = {Level.BOTH: "step, grouped", Level.STEP: "step", Level.GROUP: "grouped", Level.WHOLE: ""}
Measured = dict[Level, list[UsageRow]]


def usage_report(query: UsageQuery, levels: Sequence[Level], *, latency: bool = True) -> Measured:
    """The rows of each level, in order of time and then of tokens, the largest first; empty steps are left out.

    latency: whether percentiles are wanted; they cost as much as all the rest.
    Raises InvalidInput when there are more than MAX_ROWS.
    """
    check_steps(query)
    found: dict[tuple[int, Any, Any], Figures] = defaultdict(Figures)
    sketches: dict[tuple[int, Any, Any], dict[int, int]] = defaultdict(dict)
    source, parameters = _source(query)
    with connection.cursor() as cursor:
        cursor.execute(_sums(levels, source), parameters)
        if cursor.rowcount > MAX_ROWS:
            raise refused("group_by", f"More than {MAX_ROWS} rows: take longer steps, a shorter period, or a filter.")
        for level, step, group, currency, cost, *counts in cursor.fetchall():
            _add(found[(level, step, group)], currency, cost, counts)
        if latency:
            cursor.execute(_sketches(levels, source), parameters)
        for level, step, group, bucket, calls in cursor.fetchall() if latency else ():
            sketches[(level, step, group)][bucket] = int(calls)
    for key, counts in sketches.items():
        found[key].latency = percentiles(counts)
    return {level: _ordered(found, level, query.period) for level in levels}


def _ordered(found: Mapping[tuple[int, Any, Any], Figures], level: Level, period: Period) -> list[UsageRow]:
    rows = [
        UsageRow(step and step.astimezone(period.zone), group, one)
        for (of, step, group), one in found.items()
        if of == level
    ]
    first = datetime.min.replace(tzinfo=UTC)
    rows.sort(key=lambda row: (row.start or first, -row.figures.tokens, -row.figures.calls, row.group or ""))
    return rows


def whole(measured: Measured) -> Figures:
    """The figures of the whole period; zeros without any call."""
    rows = measured[Level.WHOLE]
    return rows[0].figures if rows else Figures()


def _add(figures: Figures, currency: str, cost: Decimal, counts: Iterable[Any]) -> None:
    for name, count in zip((*COUNTED, *TOKENS), counts, strict=True):
        setattr(figures, name, getattr(figures, name) + int(count))
    if cost:
        figures.cost[currency] = figures.cost.get(currency, Decimal()) + cost


@dataclass(frozen=True)
class Split:
    """The SQL of levels that are measured together: what is selected, and how it is grouped beside `column`."""

    levels: Sequence[Level]

    @property
    def columns(self) -> str:
        step = ("GROUPING(step)", "step") if self._has("step") else ("1", "NULL::timestamptz")
        group = ("GROUPING(grouped)", "grouped") if self._has("grouped") else ("1", "NULL::text")
        return f"2 * {step[0]} + {group[0]}, {step[1]}, {group[1]}"

    def grouping(self, column: str) -> str:
        sets = ", ".join(f"({', '.join(filter(None, (SETS[level], column)))})" for level in self.levels)
        return f"GROUP BY GROUPING SETS ({sets})"

    def _has(self, name: str) -> bool:
        return any(name in SETS[level] for level in self.levels)


def _sums(levels: Sequence[Level], source: str) -> str:
    """Rows are added up for the finest level first: the others are made of those few."""
    split = Split(levels)
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("cost", *COUNTED, *TOKENS))
    return f"""{source}, cells AS (SELECT step, grouped, currency, {sums} FROM placed GROUP BY step, grouped, currency)
        SELECT {split.columns}, currency, {sums} FROM cells {split.grouping("currency")}
        LIMIT {MAX_ROWS + 1}"""  # noqa: S608  # our own columns


def _sketches(levels: Sequence[Level], source: str) -> str:
    """A function scan for each row takes several times as long as arrays that are unnested in the list of columns; and
    OFFSET 0 has the step and the group of a row computed once, not again for each of its buckets."""
    split = Split(levels)
    return f"""{source}, sketched AS (
            SELECT step, grouped, latency_buckets, latency_counts FROM placed OFFSET 0),
        counted AS (
            SELECT step, grouped, unnest(latency_buckets) AS bucket, unnest(latency_counts) AS times FROM sketched),
        cells AS (SELECT step, grouped, bucket, sum(times) AS times FROM counted GROUP BY step, grouped, bucket)
        SELECT {split.columns}, bucket, sum(times) FROM cells {split.grouping("bucket")}"""  # noqa: S608  # the same


def _source(query: UsageQuery) -> tuple[str, dict[str, Any]]:
    """The rows of the period as `placed`, each with its step and group, and the values of the parameters."""
    parameters: dict[str, Any] = {
        "workspace": query.workspace_id,
        "start": query.period.start,
        "end": query.period.end,
        "gamma": GAMMA,
        "zone": query.period.zone.key,
        "interval": query.interval.value if query.interval else None,
    }
    parts = []
    for n, piece in enumerate(pieces(query.period, query.interval)):
        parts.append(ROLLED.format(n=n))
        parameters |= {f"grain_{n}": piece.grain.value, f"from_{n}": piece.start, f"to_{n}": piece.end}
    conditions = []
    for group, value in query.filters.items():
        conditions.append(f" AND {GROUPS[group]} = %(is_{group.value})s")
        parameters[f"is_{group.value}"] = value
    where = "".join(conditions)
    if query.only is not None and query.group_by is not None:
        where += f" AND {GROUPS[query.group_by]} = ANY(%(only)s)"
        parameters["only"] = list(query.only)
    rows = f"{where} UNION ALL ".join([*parts, TAIL]) + where
    step = "date_trunc(%(interval)s, start, %(zone)s)" if query.interval else "NULL::timestamptz"
    grouped = GROUPS[query.group_by] if query.group_by else "NULL::text"
    return (
        f"""WITH source AS ({rows}), placed AS (
        SELECT *, {step} AS step, {grouped} AS grouped, CASE status WHEN 'error' THEN calls ELSE 0 END AS errors
        FROM source)""",  # noqa: S608  # pieces from above; values are parameters
        parameters,
    )


def pieces(period: Period, interval: Interval | None) -> list[Piece]:
    """Which rows a period is read from: whole days where their sums are the same or no hours are kept, else hours."""
    days_fit = interval is None or (interval is not Interval.HOUR and period.zone.key == "UTC")
    first, last = _next_midnight(period.start), period.end.replace(hour=0)
    middle = last if days_fit else min(last, max(first, hours_since()))
    if first >= middle:
        return [Piece(Grain.HOUR, period.start, period.end)]
    found = [
        Piece(Grain.HOUR, period.start, first),
        Piece(Grain.DAY, first, middle),
        Piece(Grain.HOUR, middle, period.end),
    ]
    return [piece for piece in found if piece.start < piece.end]


def _next_midnight(moment: datetime) -> datetime:
    midnight = moment.replace(hour=0)
    return midnight if midnight == moment else midnight + timedelta(days=1)
