"""From lines on pages to paragraphs, lists and headings. Plain geometry in points; the origin is the lower left."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from plugins.contracts import Block, BlockKind

LIST_ITEM = re.compile(r"(?:[-–•▪◦‣·*●○■]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s+\S")
SENTENCE_END = re.compile(r"[.!?:;…。][\"'”’»)\]]*\Z")
SENTENCE_TAIL = 6  # characters: a full stop and what may close after it
LONGEST_WORD = 60
WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
LAST_PART = re.compile(r"[^\W\d_]{2,}\Z")
FIRST_PART = re.compile(r"[^\W\d_]+")
COMMON_PITCH = 1.2  # of the size of type, where a document is too short to tell
COMMON_ADVANCE = 0.5  # likewise, the width of a character
ROW_WIDTH = 1.3  # of the width that the number of characters promises
PARAGRAPH_GAP = 1.3  # of the usual distance between lines
HEADING_RATIO = 1.12  # of the usual size of type
MAX_HEADING = 150
MAX_HEADING_LINES = 3
RUNNING_HEAD = 3  # a heading on more pages than this is a page's head or foot
FORM_SHARE = 0.25  # with more bold lines than this, bold type marks no headings
FULL_LINE = 0.8  # of the width of its column; a shorter line was broken on purpose


@dataclass(frozen=True)
class Line:
    """A line as it is set. hyphenated: a hyphen at its end was left out of the text."""

    text: str
    page: int
    left: float
    right: float
    baseline: float
    size: float
    bold: bool = False
    hyphenated: bool = False


@dataclass
class _Paragraph:
    lines: list[Line] = field(default_factory=list)
    text: str = ""

    @property
    def size(self) -> float:
        return max(line.size for line in self.lines)

    @property
    def bold(self) -> bool:
        return all(line.bold for line in self.lines)


def blocks_of(pages: Sequence[Sequence[Line]]) -> Iterator[Block]:
    """The blocks of a document's pages, in the order of their lines."""
    flowing = [list(_rejoined(page)) for page in pages]
    layout = _Layout(flowing)
    paragraphs = [paragraph for page in flowing for paragraph in layout.paragraphs(page)]
    levels = _heading_levels(paragraphs, layout)
    for paragraph, level in zip(paragraphs, levels, strict=True):
        page = paragraph.lines[0].page
        if level is not None:
            yield Block(BlockKind.HEADING, " ".join(paragraph.text.split()), level=level, page=page)
        else:
            kind = BlockKind.LIST if LIST_ITEM.match(paragraph.text) else BlockKind.PARAGRAPH
            yield Block(kind, paragraph.text, page=page)


def _rejoined(lines: Sequence[Line]) -> Iterator[Line]:
    """Raised notes, formulas and cells of a row come as lines of their own: put them back on their line."""
    current: Line | None = None
    for line in lines:
        if current is not None and _on_one_line(current, line):
            space = line.left - current.right > 0.15 * min(line.size, current.size)
            main = max(current, line, key=lambda part: len(part.text))
            current = Line(
                text=f"{current.text}{' ' if space else ''}{line.text}",
                page=line.page,
                left=current.left,
                right=line.right,
                baseline=main.baseline,
                size=main.size,
                bold=current.bold and line.bold,
                hyphenated=line.hyphenated,
            )
            continue
        if current is not None:
            yield current
        current = line
    if current is not None:
        yield current


def _on_one_line(before: Line, after: Line) -> bool:
    size = max(before.size, after.size)
    level = abs(before.baseline - after.baseline) < 0.5 * size
    return level and not before.hyphenated and after.left > before.right - 0.3 * size


class _Layout:
    """The usual size, distance and width of lines, and what follows from them."""

    def __init__(self, pages: Sequence[Sequence[Line]]) -> None:
        sizes: Counter[float] = Counter()
        for page in pages:
            for line in page:
                sizes[line.size] += len(line.text)
        self.body = sizes.most_common(1)[0][0] if sizes else 0.0
        self.pitch = _pitch(pages)
        self.advance = _advance(pages)
        self.vocabulary = _vocabulary(pages)

    def paragraphs(self, page: Sequence[Line]) -> Iterator[_Paragraph]:
        columns = _column_ends(page)
        paragraph = _Paragraph()
        for line in page:
            before = paragraph.lines[-1] if paragraph.lines else None
            if before is None:
                paragraph = _Paragraph([line], line.text)
                continue
            end = columns[_column(before)]
            if self._begins(before, line, end):
                yield self._finished(paragraph)
                paragraph = _Paragraph([line], line.text)
            else:
                full = before.right - before.left > FULL_LINE * (end - before.left)
                flows = full and not self._is_row(before) and not self._is_row(line)
                paragraph.text = self._joined(paragraph.text, before, line, " " if flows else "\n")
                paragraph.lines.append(line)
        if paragraph.lines:
            yield self._finished(paragraph)

    @staticmethod
    def _finished(paragraph: _Paragraph) -> _Paragraph:
        if paragraph.lines[-1].hyphenated:
            paragraph.text += "-"
        return paragraph

    def _begins(self, before: Line, line: Line, column_end: float) -> bool:
        """Whether a paragraph begins with this line."""
        if before.hyphenated:
            return False
        large = line.size >= HEADING_RATIO * self.body
        other_type = abs(line.size - before.size) > 0.08 * before.size or (line.bold != before.bold and not large)
        if other_type or LIST_ITEM.match(line.text):
            return True
        ended = SENTENCE_END.search(before.text[-SENTENCE_TAIL:]) is not None
        down = before.baseline - line.baseline
        if down < -0.5 * line.size or down > 8 * line.size:  # another column or box
            return ended or not line.text[:1].islower()
        if down > PARAGRAPH_GAP * self.pitch * line.size:
            return True
        short = before.right < column_end - 0.15 * (column_end - before.left)
        indented = 0.5 * line.size < line.left - before.left < 6 * line.size
        return ended and not line.text[:1].islower() and (short or indented)

    def _is_row(self, line: Line) -> bool:
        """Whether the line has gaps inside, as the cells of a table or form have."""
        return " " in line.text and line.right - line.left > ROW_WIDTH * self.advance * line.size * len(line.text)

    def _joined(self, text: str, before: Line, line: Line, space: str) -> str:
        """Two lines as one. A word that was divided is one word, unless the document writes it with a hyphen."""
        if not before.hyphenated and not (text.endswith(("-", "\u2010", "\u00ad")) and line.text[:1].islower()):
            return f"{text}{space}{line.text}"
        stem = text if before.hyphenated else text[:-1]
        head, tail = LAST_PART.search(stem[-LONGEST_WORD:]), FIRST_PART.match(line.text)
        if head is None or tail is None:
            return f"{stem}-{line.text}"
        whole, divided = (f"{head[0]}{mark}{tail[0]}".lower() for mark in ("", "-"))
        keeps_hyphen = whole not in self.vocabulary and divided in self.vocabulary
        return f"{stem}-{line.text}" if keeps_hyphen or not tail[0].islower() else f"{stem}{line.text}"


def _pitch(pages: Sequence[Sequence[Line]]) -> float:
    """The usual distance of lines, as a multiple of the size of type."""
    distances = [
        (before.baseline - after.baseline) / after.size
        for page in pages
        for before, after in pairwise(page)
        if before.size == after.size > 0
    ]
    near = [distance for distance in distances if 0.8 < distance < 2.2]
    return median(near) if near else COMMON_PITCH


def _advance(pages: Sequence[Sequence[Line]]) -> float:
    """The usual width of a character, as a multiple of the size of type."""
    found = [
        (line.right - line.left) / (line.size * len(line.text))
        for page in pages
        for line in page
        if len(line.text) >= 20 and line.size > 0
    ]
    return median(found) if found else COMMON_ADVANCE


def _vocabulary(pages: Sequence[Sequence[Line]]) -> frozenset[str]:
    """The document's words, where any is divided at the end of a line."""
    if not any(line.hyphenated or line.text.endswith(("-", "\u2010")) for page in pages for line in page):
        return frozenset()
    return frozenset(word.lower() for page in pages for line in page for word in WORD.findall(line.text))


def _column(line: Line) -> int:
    """Lines that begin within 40 points of each other stand in one column."""
    return round(line.left / 40)


def _column_ends(page: Sequence[Line]) -> dict[int, float]:
    """Where the widest line of each column ends."""
    ends: dict[int, float] = {}
    for line in page:
        for column in (_column(line) - 1, _column(line), _column(line) + 1):
            ends[column] = max(ends.get(column, 0.0), line.right)
    return ends


def _heading_levels(paragraphs: Sequence[_Paragraph], layout: _Layout) -> list[int | None]:
    """The level of each paragraph that is a heading: by size of type, then bold type at the usual size."""
    large = [_looks_like_heading(one) and one.size >= HEADING_RATIO * layout.body for one in paragraphs]
    bold = [_looks_like_heading(one) and one.bold and one.size >= 0.95 * layout.body for one in paragraphs]
    lines = sum(len(one.lines) for one in paragraphs)
    if sum(len(one.lines) for one, is_bold in zip(paragraphs, bold, strict=True) if is_bold) > FORM_SHARE * lines:
        bold = [False] * len(paragraphs)
    shown = Counter(_without_digits(one) for one, is_large in zip(paragraphs, large, strict=True) if is_large)
    sizes = _steps(one.size for one, is_large in zip(paragraphs, large, strict=True) if is_large)
    levels: list[int | None] = []
    for one, is_large, is_bold in zip(paragraphs, large, bold, strict=True):
        if shown[_without_digits(one)] > RUNNING_HEAD or not (is_large or is_bold):
            levels.append(None)
        else:
            levels.append(min(6, sum(step * 0.92 > one.size for step in sizes) + 1 if is_large else len(sizes) + 1))
    return levels


def _steps(sizes: Iterable[float]) -> list[float]:
    """The sizes of type that differ clearly, the largest first."""
    steps: list[float] = []
    for size in sorted(set(sizes), reverse=True):
        if not steps or size < 0.92 * steps[-1]:
            steps.append(size)
    return steps


def _looks_like_heading(paragraph: _Paragraph) -> bool:
    text = paragraph.text
    if len(text) > MAX_HEADING or len(paragraph.lines) > MAX_HEADING_LINES:
        return False
    letters = sum(char.isalpha() for char in text)
    return letters >= 2 and not text.endswith((".", ",", ";", "-")) and not text[:1].islower()


def _without_digits(paragraph: _Paragraph) -> str:
    return re.sub(r"\d+", "", paragraph.text)
