"""Texts compared by words, and long ones by lines."""

import time

from core.text_diff import MAX_WORDS, Part, text_diff


def test_words_that_differ_are_marked_on_both_sides():
    before, after = text_diff("Be brief and kind.", "Be very brief.")

    assert before == [Part("Be brief", False), Part(" and kind", True), Part(".", False)]
    assert after == [Part("Be ", False), Part("very ", True), Part("brief.", False)]


def test_the_space_between_two_words_that_differ_is_marked_with_them():
    before, after = text_diff("one two three.", "four five three.")

    assert before == [Part("one two", True), Part(" three.", False)]
    assert after == [Part("four five", True), Part(" three.", False)]


def test_parts_make_the_whole_text_again():
    old, new = "a  b\n\n{{ x }}\tc\n", "a b\n{{ y }} c — d\u2028"

    before, after = text_diff(old, new)

    assert ("".join(part.text for part in before), "".join(part.text for part in after)) == (old, new)


def test_long_texts_are_compared_by_lines_in_a_moment():
    lines = [f"line {n} of a long prompt\n" for n in range(MAX_WORDS)]
    began = time.monotonic()

    before, after = text_diff("".join(lines), "".join([*lines[:7], "another line\n", *lines[8:]]))

    assert [part.text for part in before if part.differs] == ["line 7 of a long prompt\n"]
    assert [part.text for part in after if part.differs] == ["another line\n"]
    assert time.monotonic() - began < 5
