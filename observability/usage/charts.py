"""The geometry of the usage page's charts: numbers for SVG, in a box of WIDTH by HEIGHT that the browser stretches."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 1000.0
HEIGHT = 200.0
GAP = 0.15  # of a bar's step


@dataclass(frozen=True)
class Series:
    """A line of a legend with its value at each step; None where there is none. shade: its colour's number."""

    name: str
    shade: int
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Bar:
    """A piece of a stack. text: what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    shade: int
    text: str


@dataclass(frozen=True)
class Line:
    """A series as the points of polylines; a step without a value is a gap, a lone value a dot."""

    shade: int
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A chart as its template draws it. top: the figure at the upper edge; marks: times below, from left to right."""

    id: str
    title: str
    summary: str
    top: str
    marks: tuple[str, ...]
    legend: tuple[Series, ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()


def stacked(series: Sequence[Series], steps: Sequence[str], shown: Sequence[Sequence[str]]) -> tuple[Bar, ...]:
    """A stack of bars for each step. shown: the values as texts, by series and step."""
    highest = max((sum(one.values[n] or 0 for one in series) for n in range(len(steps))), default=0) or 1
    step = WIDTH / max(len(steps), 1)
    bars = []
    for n, when in enumerate(steps):
        below = 0.0
        for one, texts in zip(series, shown, strict=True):
            value = one.values[n] or 0
            if value > 0:
                height = value / highest * HEIGHT
                below += height
                text = f"{when}, {one.name}: {texts[n]}"
                place = (round(n * step + step * GAP / 2, 2), round(HEIGHT - below, 2))
                bars.append(Bar(*place, round(step * (1 - GAP), 2), round(height, 2), one.shade, text))
    return tuple(bars)


def lines(series: Sequence[Series]) -> tuple[Line, ...]:
    """Each series as polylines, all to the same scale."""
    highest = max((value for one in series for value in one.values if value), default=0) or 1
    return tuple(_line(one, highest) for one in series)


def _line(series: Series, highest: float) -> Line:
    step = WIDTH / max(len(series.values), 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for n, value in enumerate(series.values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((round(n * step + step / 2, 2), round(HEIGHT - value / highest * HEIGHT, 2)))
    drawn = tuple(" ".join(f"{x},{y}" for x, y in piece) for piece in pieces if len(piece) > 1)
    return Line(series.shade, drawn, tuple(piece[0] for piece in pieces if len(piece) == 1))
