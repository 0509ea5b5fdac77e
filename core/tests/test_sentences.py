"""Where sentences end, and where a full stop ends nothing."""

import pytest

from core.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello there. How are you? Fine! Good…  Bye", ["Hello there.", "How are you?", "Fine!", "Good…", "Bye"]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("See Dr. Smith, e.g. on p. 5. He helps.", ["See Dr. Smith, e.g. on p. 5.", "He helps."]),
        ("J. R. Tolkien wrote. We read.", ["J. R. Tolkien wrote.", "We read."]),
        ("It costs 3.50 or 1.000,00. Pay now.", ["It costs 3.50 or 1.000,00.", "Pay now."]),
        ("Open https://a.example/b.html?x=1.2. Then go.", ["Open https://a.example/b.html?x=1.2.", "Then go."]),
        ("Call foo.bar() or v2.0.1. It works.", ["Call foo.bar() or v2.0.1.", "It works."]),
        ("Wait... what? Yes.", ["Wait...", "what?", "Yes."]),
        ("It ended etc. and went on. Done.", ["It ended etc. and went on.", "Done."]),
        ("(A note.) [1] [Another.]", ["(A note.)", "[1] [Another.]"]),
        ("Really?! “Yes,” she said.", ["Really?!", "“Yes,” she said."]),
        ("End. — a dash", ["End. — a dash"]),
        ("Done (really) . Next", ["Done (really) .", "Next"]),
        ("He said no. Then see No. 5, Fig. 3.", ["He said no.", "Then see No. 5, Fig. 3."]),
    ],
)
def test_sentences_of_latin_scripts(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("你好。再见！「好。」完", ["你好。", "再见！", "「好。」", "完"]),
        ("مرحبا. كيف حالك؟ بخير۔ نعم", ["مرحبا.", "كيف حالك؟", "بخير۔", "نعم"]),
        ("नमस्ते। आप कैसे हैं।", ["नमस्ते।", "आप कैसे हैं।"]),
    ],
)
def test_full_stops_of_other_scripts(text, expected):
    assert sentences(text) == expected


def test_list_items_rows_and_code_fences_begin_anew():
    text = "Do this:\n1. First. Well\n2) Second\n- Third\n| a | b |\n```\nx = 1"

    assert sentences(text) == ["Do this:", "1. First.", "Well", "2) Second", "- Third", "| a | b |", "```\nx = 1"]


def test_line_break_alone_ends_nothing_and_a_blank_line_does():
    assert sentences("One line\nwraps here\n \nNext") == ["One line\nwraps here", "Next"]


@pytest.mark.parametrize("text", ["", "  \n\t "])
def test_no_text_has_no_sentences(text):
    assert split_sentences(text) == []


def test_offsets_cover_everything_but_white_space_in_order():
    text = '  Dr. A. said: "One. Two!"\n\n* 3.5 kg. 你好。x.y… end.  \n'

    bounds = split_sentences(text)

    flat = [position for pair in bounds for position in pair]
    assert flat == sorted(flat)
    rest = "".join(text[a:b] for a, b in zip([0, *flat[1::2]], [*flat[::2], len(text)], strict=True))
    assert rest.strip() == ""


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["word, (", "!", "e.g. ", "a.b", " \n", ". ", "'.\""])
def test_long_text_is_read_in_linear_time(part):
    text = part * 100_000 + "x"

    bounds = split_sentences(text)

    assert bounds[-1][1] == len(text)
