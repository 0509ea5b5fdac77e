"""What the usage page shows: figures with their change, charts, tables. No HTTP, no HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _

from core.admin_display import NBSP, duration, money_about, number
from observability.usage.charts import Chart, Series, lines, stacked
from observability.usage.labels import labels
from observability.usage.query import GroupBy, Interval, UsageQuery, steps_of
from observability.usage.report import Figures, Level, UsageRow, usage_report, whole

TOP = 5
TABLE_ROWS = 100
OTHERS_SHADE = 6
NONE = Figures()


@dataclass(frozen=True)
class Tile:
    """A total with its unit, and how it compares with the period before. worse: the change is none to be glad of."""

    label: str
    figure: str
    change: str = ""
    worse: bool = False


@dataclass(frozen=True)
class TableRow:
    """A line of a table, as texts; key: the group that it is about."""

    name: str
    figures: Figures
    key: str = ""

    @property
    def cells(self) -> list[str]:
        one, latency = self.figures, self.figures.latency
        return [
            number(one.calls),
            number(one.errors),
            number(one.input_tokens),
            number(one.output_tokens),
            _costs(one),
            *(duration(value) for value in (latency.p50, latency.p95, latency.p99)),
        ]


@dataclass(frozen=True)
class UsagePage:
    """All that the template draws. hidden: how many groups only the file has."""

    tiles: Sequence[Tile]
    charts: Sequence[Chart]
    steps: Sequence[TableRow]
    groups: Sequence[TableRow]
    hidden: int
    empty: bool


def usage_page(query: UsageQuery, group_by: GroupBy, interval: Interval) -> UsagePage:
    """Everything about a period, by time and by group, next to the period before it."""
    asked = replace(query, group_by=group_by, interval=interval)
    measured = usage_report(asked, [Level.STEP, Level.GROUP, Level.WHOLE])
    before = usage_report(replace(query, period=query.period.previous(), interval=None), [Level.WHOLE])
    groups = measured[Level.GROUP]
    top = [row.group or "" for row in groups[:TOP]]
    by_top = usage_report(replace(asked, only=top), [Level.BOTH], latency=False)[Level.BOTH] if len(groups) > 1 else []
    names = labels(group_by, [row.group or "" for row in groups[:TABLE_ROWS]], query.workspace_id)
    times = steps_of(query.period, interval)
    by_time = {row.start: row.figures for row in measured[Level.STEP]}
    shares = [(names[group], _values(by_top, group, times)) for group in top] if by_top else []
    return UsagePage(
        tiles=_tiles(whole(measured), whole(before)),
        charts=_charts([by_time.get(when, NONE) for when in times], [_when(one, interval) for one in times], shares),
        steps=[TableRow(_when(when, interval), by_time[when]) for when in reversed(times) if when in by_time],
        groups=[TableRow(names[row.group or ""], row.figures, row.group or "") for row in groups[:TABLE_ROWS]],
        hidden=max(0, len(groups) - TABLE_ROWS),
        empty=not whole(measured).calls,
    )


def _values(rows: Sequence[UsageRow], group: str, times: Sequence[datetime]) -> list[Figures]:
    found = {row.start: row.figures for row in rows if row.group == group}
    return [found.get(when, NONE) for when in times]


def _when(moment: datetime, interval: Interval) -> str:
    forms = {Interval.HOUR: "j M, H:i", Interval.MONTH: "M Y"}
    return date_format(moment, forms.get(interval, "j M Y"))


def _costs(figures: Figures) -> str:
    """`0.1234 USD`, one after the other where there are several currencies."""
    return ", ".join(money_about(amount, currency) for currency, amount in sorted(figures.cost.items())) or "—"


def _tiles(now: Figures, before: Figures) -> list[Tile]:
    cost = [
        Tile(
            _("Cost"),
            money_about(amount, currency).replace(NBSP, " "),  # a tile is narrow
            *_change(float(amount), float(before.cost.get(currency, 0)), more_is_worse=True),
        )
        for currency, amount in sorted(now.cost.items())
    ]
    if now.unpriced and now.calls:
        cost.append(Tile(_("Calls without a known price"), number(now.unpriced)))
    return [
        Tile(_("Calls"), number(now.calls), *_change(now.calls, before.calls)),
        Tile(_("Errors"), _share(now), *_change(now.errors, before.errors, more_is_worse=True)),
        Tile(_("Input (tokens)"), _tokens(now, "input"), *_change(now.input_tokens, before.input_tokens)),
        Tile(_("Output (tokens)"), _tokens(now, "output"), *_change(now.output_tokens, before.output_tokens)),
        *cost,
        *_latency_tiles(now, before),
    ]


def _tokens(figures: Figures, direction: str) -> str:
    count: int = getattr(figures, f"{direction}_tokens")
    return number(count) + (f"{NBSP}≈" if figures.estimated else "")


def _share(figures: Figures) -> str:
    return f"{number(figures.errors)} ({figures.errors / max(figures.calls, 1):.1%})"


def _latency_tiles(now: Figures, before: Figures) -> list[Tile]:
    names = {"p50": _("Latency, median"), "p95": _("Latency, p95"), "p99": _("Latency, p99")}
    found = []
    for name, label in names.items():
        value, old = getattr(now.latency, name), getattr(before.latency, name)
        found.append(Tile(label, duration(value), *_change(value or 0, old or 0, more_is_worse=True)))
    return found


def _change(now: float, before: float, *, more_is_worse: bool = False) -> tuple[str, bool]:
    """How a figure has changed, and whether that is for the worse."""
    if not before:
        return (_("nothing before"), False) if now else ("", False)
    share = now / before - 1
    if abs(share) < 0.005:
        return _("as before"), False
    text = f"{share:+.0%}" if share < 9.99 else f"×{now / before:,.0f}"
    return _("%(change)s on the period before") % {"change": text}, more_is_worse and share > 0


def _charts(
    figures: Sequence[Figures], steps: Sequence[str], shares: Sequence[tuple[str, Sequence[Figures]]]
) -> list[Chart]:
    marks = _marks(steps)
    found = [_stack("tokens", _("Tokens"), _token_series(figures, shares), steps, _count, marks)]
    for currency in sorted({one for step in figures for one in step.cost}):
        series = _cost_series(figures, shares, currency)
        title = _("Cost (%(currency)s)") % {"currency": currency}
        found.append(_stack(f"cost-{currency}", title, series, steps, partial(_price, currency=currency), marks))
    found.append(_latency_chart(figures, marks))
    errors = [Series(_("Errors"), 7, tuple(float(one.errors) for one in figures))]
    found.append(_stack("errors", _("Errors"), errors, steps, _count, marks))
    return found


def _count(value: float) -> str:
    return number(round(value))


def _price(value: float, currency: str) -> str:
    return money_about(Decimal(str(value)), currency)


def _marks(steps: Sequence[str]) -> tuple[str, ...]:
    places = {0, len(steps) // 2, len(steps) - 1} if len(steps) > 2 else set(range(len(steps)))
    return tuple(steps[place] for place in sorted(places))


def _token_series(figures: Sequence[Figures], shares: Sequence[tuple[str, Sequence[Figures]]]) -> list[Series]:
    if not shares:
        return [
            Series(_("Input"), 0, tuple(float(one.input_tokens) for one in figures)),
            Series(_("Output"), 1, tuple(float(one.output_tokens) for one in figures)),
        ]
    parts = [(name, [float(one.tokens) for one in of]) for name, of in shares]
    return _with_others(parts, [float(one.tokens) for one in figures])


def _cost_series(
    figures: Sequence[Figures], shares: Sequence[tuple[str, Sequence[Figures]]], currency: str
) -> list[Series]:
    def costs(of: Sequence[Figures]) -> list[float]:
        return [float(one.cost.get(currency, 0)) for one in of]

    return _with_others([(name, costs(of)) for name, of in shares], costs(figures), alone=_("Cost"))


def _with_others(parts: Sequence[tuple[str, list[float]]], sums: list[float], alone: str = "") -> list[Series]:
    """A series for each part and one for what is left of the sums."""
    series = [Series(name, shade, tuple(values)) for shade, (name, values) in enumerate(parts)]
    left = [max(0.0, total - sum(values[n] for _name, values in parts)) for n, total in enumerate(sums)]
    if not parts:
        return [Series(alone, 0, tuple(left))]
    if sum(left) > sum(sums) / 1e9:
        series.append(Series(_("Others"), OTHERS_SHADE, tuple(left)))
    return series


def _stack(
    name: str, title: str, series: Sequence[Series], steps: Sequence[str], shown: Any, marks: tuple[str, ...]
) -> Chart:
    sums = [sum(one.values[n] or 0 for one in series) for n in range(len(steps))]
    highest = max(sums, default=0)
    texts = [[shown(round(value or 0, 8) if value else 0) for value in one.values] for one in series]
    when = steps[sums.index(highest)] if sums and highest else ""
    summary = _("No values.")
    if when:
        said = {"sum": shown(sum(sums)), "most": shown(highest), "when": when}
        summary = _("%(sum)s in all; the most, %(most)s, at %(when)s.") % said
    kept = [one for one in series if any(one.values)]
    return Chart(name, title, summary, shown(highest), marks, tuple(kept), bars=stacked(series, steps, texts))


def _latency_chart(figures: Sequence[Figures], marks: tuple[str, ...]) -> Chart:
    series = [
        Series(label, shade, tuple(getattr(one.latency, name) for one in figures))
        for shade, (name, label) in enumerate({"p50": _("median"), "p95": "p95", "p99": "p99"}.items())
    ]
    values = [value for one in series for value in one.values if value is not None]
    highest = max(values, default=0.0)
    summary = _("Median, p95 and p99, at most %(most)s.") % {"most": duration(highest)}
    return Chart("latency", _("Latency"), summary, duration(highest), marks, tuple(series), lines=lines(series))


def shown_filters(query: UsageQuery) -> Mapping[GroupBy, str]:
    """The filters of a query with their values as people read them."""
    return {group: labels(group, [value], query.workspace_id)[value] for group, value in query.filters.items()}
