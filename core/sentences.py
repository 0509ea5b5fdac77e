"""Sentence boundaries, as offsets into the text.

A rule-based splitter in the tradition of the Punkt conventions (Kiss and Strunk, 2006) without training: a sentence
ends at a terminal mark that white space and something like a beginning follow, at a blank line, and at a line break
that begins a list item, a table row or a heading. Abbreviations, initials, decimals, versions and URLs do not end one.
"""

import re

ABBREVIATIONS = frozenset(
    """
    a.m approx apr aug ave bzw ca capt cf co corp dec dept dr e.g ed eds est etc ext feb gen gov i.e inc
    jan jr jul jun lt ltd mar max mr mrs ms mt nov oct p.m prof rev sen sep sept sr st tel u.k u.s
    u.s.a univ usw v vs z.b
    """.split()  # noqa: SIM905  # a list of seventy quoted words reads worse
)
BEFORE_NUMBERS = frozenset("art ch eq eqs fig figs no nos nr p pp sec vol".split())  # noqa: SIM905  # as above
LONGEST_WORD = 40  # characters to look back for an abbreviation; the whole sentence each time would be quadratic
BREAK = re.compile(
    r"""
      (?P<blank>\n[ \t]*\n\s*)                                        # a blank line
    | (?P<line>\n(?=[ \t]*(?:[-*+•‣◦|#>]|\d{1,3}[.)][ \t]|```)))      # a line that starts an item, row or heading
    | (?P<wide>[。！？؟۔।]+[”’"')\]」』]*\s*)                           # marks that need no space after them
    | (?P<mark>(?<![.!?…])[.!?…]++[”’"')\]]*+)(?=\s++\S)              # marks, then space, then something
    """,
    re.VERBOSE,
)
BEGINNING = re.compile(r"\s+[\[(\"'“‘«¿¡*_`-]*(?:[^\W\d_]|\d|\[|【)")
LAST_WORD = re.compile(r"(?<!\S)[(\[\"'“‘]*([\w.]+?)\.?\Z", re.UNICODE)


def split_sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, without the white space around it; empty for text without any."""
    bounds: list[tuple[int, int]] = []
    start = 0
    for found in BREAK.finditer(text):
        if found.lastgroup == "mark" and not _ends(text, start, found):
            continue
        end = found.start() if found.lastgroup in {"blank", "line"} else found.end()
        _keep(text, start, end, bounds)
        start = found.end()
    _keep(text, start, len(text), bounds)
    return bounds


def _keep(text: str, start: int, end: int, bounds: list[tuple[int, int]]) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        bounds.append((start, end))


def _ends(text: str, start: int, mark: "re.Match[str]") -> bool:
    """Whether this mark ends a sentence and not an abbreviation, an initial or a list number."""
    following = BEGINNING.match(text, mark.end())
    if following is None:
        return False
    if not mark["mark"].startswith(".") or mark["mark"].startswith(".."):
        return True
    if following[0][-1].islower():
        return False
    before = LAST_WORD.search(text, max(start, mark.start() - LONGEST_WORD), mark.start())
    if before is None:
        return True
    word = before[1].lower().rstrip(".")
    if word in BEFORE_NUMBERS:
        return not following[0][-1].isdigit()
    is_initial = len(word) == 1 and word.isalpha() and before[1].isupper()
    is_item_number = word.isdecimal() and before.start() == _first_word(text, start)
    return not (word in ABBREVIATIONS or is_initial or is_item_number)


def _first_word(text: str, start: int) -> int:
    while start < len(text) and text[start].isspace():
        start += 1
    return start
