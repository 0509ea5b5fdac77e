"""PDF: reading order, paragraphs, headings, and a true reason where there is no text."""

from pathlib import Path

import pytest

from knowledge.ingestion.parsers.pdf import PdfParser
from knowledge.ingestion.parsers.pdf_layout import Line, blocks_of
from knowledge.tests.pdf_files import Shown, pdf
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

PROSE = "A line of prose that is as long as its column, more or less, so that it is full"
LOCKED = b"/Filter /Standard /V 1 /R 2 /P -4 /O <" + b"11" * 32 + b"> /U <" + b"22" * 32 + b">"


def parsed(tmp_path: Path, content: bytes) -> ParsedDocument:
    path = tmp_path / "file.pdf"
    path.write_bytes(content)
    return PdfParser().parse(path)


def failure(tmp_path: Path, content: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parsed(tmp_path, content)
    return caught.value


def test_lines_become_paragraphs_under_headings_with_their_page(tmp_path):
    document = parsed(
        tmp_path,
        pdf(
            [
                Shown("The handbook", y=780, size=20),
                Shown("Leave", y=740, size=14),
                Shown(f"{PROSE}.", y=700),
                Shown('He said: "Take [28] days (all)" at https://a.example/x?y=1.', y=688),
                Shown("Another paragraph begins here.", y=660),
            ],
            [Shown("Second page.")],
            title="Handbook",
        ),
    )

    assert document.title == "Handbook"
    assert document.metadata["pages"] == 2
    assert document.blocks == (
        Block(BlockKind.HEADING, "The handbook", 1, 1),
        Block(BlockKind.HEADING, "Leave", 2, 1),
        Block(BlockKind.PARAGRAPH, f'{PROSE}. He said: "Take [28] days (all)" at https://a.example/x?y=1.', None, 1),
        Block(BlockKind.PARAGRAPH, "Another paragraph begins here.", None, 1),
        Block(BlockKind.PARAGRAPH, "Second page.", None, 2),
    )


def test_bold_line_at_the_usual_size_is_a_heading_of_the_lowest_level(tmp_path):
    lines = [Shown("Chapter", y=780, size=16), Shown("Sick leave", y=740, bold=True)]
    lines += [Shown(f"{PROSE}.", y=728 - 12 * number) for number in range(5)]

    headings = [block for block in parsed(tmp_path, pdf(lines)).blocks if block.kind is BlockKind.HEADING]

    assert [(block.text, block.level) for block in headings] == [("Chapter", 1), ("Sick leave", 2)]


def test_lines_that_run_sideways_are_read_alike(tmp_path):
    lines = [
        Shown("Leave", x=40, y=72, size=14, upwards=True),
        Shown(f"{PROSE}.", x=80, y=72, upwards=True),
        Shown("The paragraph goes on.", x=92, y=72, upwards=True),
    ]

    assert parsed(tmp_path, pdf(lines)).blocks == (
        Block(BlockKind.HEADING, "Leave", 1, 1),
        Block(BlockKind.PARAGRAPH, f"{PROSE}. The paragraph goes on.", None, 1),
    )


def test_title_that_a_program_made_up_is_left_out(tmp_path):
    assert parsed(tmp_path, pdf([Shown("Text.")], title="Microsoft Word - draft.doc")).title == ""


def test_damaged_page_does_not_hide_the_others(tmp_path):
    content = pdf([Shown("First page.")], [Shown("Second page.")]).replace(b"12 0 obj\n<<", b"12 0 obj\n((", 1)

    assert [block.text for block in parsed(tmp_path, content).blocks] == ["First page."]


@pytest.mark.parametrize(
    "content, code, words",
    [
        (pdf([], picture=True), "no_text", "OCR, which Magnet does not do"),
        (pdf([]), "no_text", "blank"),
        (pdf([Shown("Secret.")], encrypt=LOCKED), "encrypted", "protected with a password"),
        (b"%PDF-1.7\nnothing", "damaged", "damaged and cannot be opened"),
        (pdf([Shown("x")]).replace(b"10 0 obj\n<<", b"10 0 obj\n((", 1), "damaged", "none of its pages"),
    ],
)
def test_pdf_without_text_says_why(tmp_path, content, code, words):
    error = failure(tmp_path, content)

    assert error.code == code
    assert words in error.reason


# --- from lines to blocks --------------------------------------------------------------------------------------


def line(text: str, y: float, x: float = 72, width: float | None = None, **more) -> Line:
    right = x + (width if width is not None else 5 * len(text))
    return Line(**{"text": text, "page": 1, "left": x, "right": right, "baseline": y, "size": 10.0, **more})


def texts(*lines: Line) -> list[str]:
    return [block.text for block in blocks_of([list(lines)])]


@pytest.mark.parametrize(
    "first, second, elsewhere, expected",
    [
        ("They study exam", "ples in it", "", "They study examples in it"),
        ("It is a well", "known thing", "A well-known man", "It is a well-known thing"),
        ("The North", "South line", "", "The North-South line"),
        ("From 1990", "2000 on", "", "From 1990-2000 on"),
    ],
)
def test_divided_word_is_joined_unless_it_is_written_with_a_hyphen(first, second, elsewhere, expected):
    lines = [line(first, 700, hyphenated=True), line(second, 688), line(elsewhere or "Else", 600)]

    assert texts(*lines)[0] == expected


def test_hyphen_that_the_file_holds_is_treated_alike():
    assert texts(line("Some transfor-", 700), line("mation of it", 688)) == ["Some transformation of it"]


def test_hyphen_at_the_very_end_stays():
    assert texts(line("To be contin", 700, hyphenated=True)) == ["To be contin-"]


def test_raised_notes_return_to_their_line():
    lines = [
        line("Ada", 700, 72, 15),
        line("1", 704, 87.2, 3, size=7.0),
        line(", Bea", 700, 90.4, 20),
        line("Cleo", 700, 150),
    ]

    assert texts(*lines) == ["Ada1, Bea Cleo"]


def test_rows_and_short_lines_keep_their_breaks():
    rows = [line("Screen lock 5 minutes 1 minute", 700, width=420), line("Disk encryption on on", 688, width=420)]
    prose = [line(PROSE, 600 - 12 * number) for number in range(6)]

    assert texts(*rows, *prose)[0] == "Screen lock 5 minutes 1 minute\nDisk encryption on on"
    assert texts(line("Ada Lovelace", 700), line("12 Rose Street", 688), line(f"{PROSE}", 500))[0] == (
        "Ada Lovelace\n12 Rose Street"
    )


def test_sentence_goes_on_in_the_next_column():
    left = [line(PROSE, 100), line(f"{PROSE} and", 88)]
    right = [line("goes on here", 700, x=320)]

    assert texts(*left, *right)[0].endswith("and goes on here")


def test_indented_line_after_a_full_stop_begins_a_paragraph():
    assert texts(line(f"{PROSE}.", 700), line(f"It is indented {PROSE}", 688, x=84)) == [
        f"{PROSE}.",
        f"It is indented {PROSE}",
    ]


def test_list_items_stand_alone():
    blocks = list(blocks_of([[line("• One thing", 700), line("• Another", 688), line("2) Third", 676)]]))

    assert [(block.kind, block.text) for block in blocks] == [
        (BlockKind.LIST, "• One thing"),
        (BlockKind.LIST, "• Another"),
        (BlockKind.LIST, "2) Third"),
    ]


def test_heading_that_returns_on_every_page_is_the_pages_head():
    pages = [
        [line(f"Annual Report {page}", 800, size=14.0, page=page), line(f"{PROSE}.", 700, page=page)]
        for page in range(1, 6)
    ]

    assert {block.kind for block in blocks_of(pages)} == {BlockKind.PARAGRAPH}


def test_form_in_bold_type_has_no_bold_headings():
    lines = [line(f"Field {name}", 700 - 30 * number, bold=True) for number, name in enumerate("ABC")]
    lines += [line(f"{PROSE}.", 400)]

    assert {block.kind for block in blocks_of([lines])} == {BlockKind.PARAGRAPH}
