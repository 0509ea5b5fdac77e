"""The quotable parts of passages: sentences, list items, table rows, each a slice of its passage."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from core.sentences import split_sentences
from plugins.contracts import GroundingPassage

LONG = 300  # characters; a longer unit of several lines is cut at its lines
LONGEST = 1200
LONGEST_ROW = 100
FEWEST_WORDS = 3
WORD = re.compile(r"[^\W_]+(?:['’.,:][^\W_]+)*", re.UNICODE)
BULLET = re.compile(r"^\s*(?:[-*+•‣◦>]|\d{1,3}[.)])\s+")
CELL = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"(`[^`\n]+`)")
FENCE = re.compile(r"^\s*`{3,}[^\n`]*$", re.MULTILINE)
LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
STARS = re.compile(r"(?<!\w)\*{1,3}(?=\S)|(?<=[^\s*])\*{1,3}(?!\w)|\*\*")
UNDERSCORES = re.compile(r"(?<!\w)(_{1,3})(?=\S)(.+?)(?<=\S)\1(?!\w)", re.DOTALL)
NUMBER_IN_BRACKETS = re.compile(r"\s?[\[【]\s*(?:source\s*)?\d{1,4}(?:\s*[,;]\s*\d{1,4})*\s*[\]】]", re.IGNORECASE)
RULE_OF_TABLE = re.compile(r"^[\s|:+-]+$")
PAGE_NUMBER = re.compile(r"\b[Pp]age \d{1,4}(?: of \d{1,4})?$|^\d{1,4}$")
CLOSED = re.compile(r"[.!?:;…。！？][”’\"')\]*_`]*$")


@dataclass(frozen=True)
class Unit:
    """text[start:end] of a passage. quotable: worth standing in an answer; the others are only context.

    is_item: an item of a list, a row of a table, or a line like one, as tables become when a PDF file is read.
    introduces: a list or a table follows, as after `These are allowed:` and a row with the names of columns.
    """

    start: int
    end: int
    quotable: bool
    is_item: bool
    introduces: bool


def units_of(passage: GroundingPassage) -> list[Unit]:
    """All parts of the passage in reading order, headings and fragments too."""
    headings = {passage.title, *passage.heading_path}
    pieces = [(start, end, passage.text[start:end]) for start, end in _pieces(passage.text)]
    return [_unit(piece, after, headings) for piece, (_, _, after) in pairwise([*pieces, (0, 0, "")])]


def shown(text: str) -> str:
    """The words of a unit as they stand in an answer: one line, closed, without the marks of lists, rows and emphasis.

    Numbers in brackets go too, so that nobody takes a footnote of the passage for a marker of the answer.
    """
    row = text.strip()
    if row.startswith("|"):
        row = " – ".join(cell.strip() for cell in CELL.split(row) if cell.strip())
    plain = "".join(part if part.startswith("`") else _without_emphasis(part) for part in CODE.split(row))
    plain = " ".join(BULLET.sub("", FENCE.sub("", plain)).split())
    return plain if CLOSED.search(plain) else f"{plain.rstrip(' ,')}."


def _without_emphasis(text: str) -> str:
    text = LINK.sub(r"\1", text)
    text = STARS.sub("", UNDERSCORES.sub(r"\2", text))
    return NUMBER_IN_BRACKETS.sub("", text)


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    for start, end in split_sentences(text):
        if end - start <= LONG or "\n" not in text[start:end]:
            yield start, end
            continue
        at = start
        for line in text[start:end].splitlines(keepends=True):
            words = line.strip()
            if words:
                offset = at + len(line) - len(line.lstrip())
                yield offset, offset + len(words)
            at += len(line)


def _quotable(text: str, headings: set[str]) -> bool:
    words = WORD.findall(text)
    if len(words) < FEWEST_WORDS or len(text) > LONGEST or RULE_OF_TABLE.match(text):
        return False
    if text.startswith("#") or text.rstrip().endswith(":") or text.strip(" #*_") in headings:
        return False
    return not (_is_navigation(text, words) or PAGE_NUMBER.search(text))


def _unit(piece: tuple[int, int, str], following: str, headings: set[str]) -> Unit:
    start, end, text = piece
    heads_table = text.startswith("|") and bool(RULE_OF_TABLE.match(following))
    quotable = _quotable(text, headings) and not heads_table
    return Unit(start, end, quotable, is_item=_is_item(text), introduces=heads_table or text.endswith(":"))


def _is_item(text: str) -> bool:
    return text.startswith("|") or bool(BULLET.match(text)) or (len(text) <= LONGEST_ROW and not CLOSED.search(text))


def _is_navigation(text: str, words: list[str]) -> bool:
    """Rows of links: many capitals, no end."""
    capitals = sum(word[0].isupper() for word in words)
    return len(words) >= 8 and capitals > 0.6 * len(words) and not CLOSED.search(text) and "|" not in text
