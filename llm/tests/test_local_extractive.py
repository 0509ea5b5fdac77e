"""The extractive answerer: what it quotes, how it looks, and when it says nothing."""

import pytest

from core.sentences import split_sentences
from llm.providers.local import embedding
from llm.providers.local.extractive import evidence
from llm.providers.local.extractive.answerer import compose
from llm.providers.local.extractive.evidence import gather
from llm.providers.local.extractive.units import shown, units_of
from plugins.contracts import Grounding, GroundingPassage

LEAVE = GroundingPassage(
    1,
    "Every keeper of the lighthouse has 27 days of holiday in a calendar year. Holiday that is not taken by 31 March "
    "of the next year is lost. Ask the harbour master before you book a journey.",
    "Holiday",
)
LAMP = GroundingPassage(
    2,
    "The lamp was built in 1894 by the workshop of Ferdinand Oort in Delft. It turns once in 12 seconds. "
    "Its light is seen at a distance of 19 nautical miles.",
    "The lamp",
)
KITCHEN = GroundingPassage(3, "The kitchen closes at 21:30. Guests pay 6 euros for dinner.", "Kitchen")
HOUSE = (LEAVE, LAMP, KITCHEN)


def ask(question: str, *passages: GroundingPassage) -> str | None:
    return compose(Grounding(question, passages or HOUSE))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many days of holiday does a keeper have?", "27 days of holiday in a calendar year. [1]"),
        ("When does holiday expire that was not taken?", "by 31 March of the next year is lost. [1]"),
        ("Who built the lamp?", "by the workshop of Ferdinand Oort in Delft. [2]"),
        ("How long does the lamp take for one turn?", "It turns once in 12 seconds. [2]"),
        ("How far can the light be seen?", "a distance of 19 nautical miles. [2]"),
        ("When does the kitchen close?", "The kitchen closes at 21:30. [3]"),
        ("What does dinner cost for guests?", "Guests pay 6 euros for dinner. [3]"),
    ],
)
def test_answer_is_a_sentence_of_a_passage_with_its_marker(question, answer):
    assert answer in (ask(question) or "")


@pytest.mark.parametrize(
    "question",
    [
        "Who won the world championship in chess?",
        "What is the boiling point of mercury?",
        "How do I rotate the secret of a webhook?",
        "What is the salary of a lighthouse keeper?",
        "Does the lighthouse have a lift?",
    ],
)
def test_question_without_an_answer_here_is_refused(question):
    assert ask(question) is None


@pytest.mark.parametrize(
    "question", ["", " ", "?", "…", "\x00", "asdf qwer zxcv", "😀" * 40, "the of and", "a" * 20_000]
)
def test_question_that_asks_nothing_is_refused(question):
    assert ask(question) is None


@pytest.mark.parametrize("text", ["", " ", "\n\n", "###", "|---|---|", "...", "Yes."])
def test_passages_without_sentences_give_no_answer(text):
    assert ask("When does the kitchen close?", GroundingPassage(1, text)) is None


def test_no_passages_give_no_answer():
    assert compose(Grounding("When does the kitchen close?", ())) is None


def test_question_for_a_number_prefers_the_sentence_that_has_one():
    passage = GroundingPassage(
        1,
        "The deposit for a locker is explained by the office. The deposit for a locker is 15 euros. "
        "The deposit for a locker is paid back.",
        "Lockers",
    )

    answer = ask("How much is the deposit for a locker?", passage)

    assert answer is not None
    assert "The deposit for a locker is 15 euros. [1]" in answer


def test_words_of_markdown_stand_in_the_answer_without_its_marks():
    passage = GroundingPassage(1, "- **Moving house**: *one day*, see [the list](https://x.example/list) [4].", "Leave")

    answer = ask("How many days off do I get for moving house?", passage)

    assert answer == "Moving house: one day, see the list. [1]"


TABLE = """\
| Place | Limit for a night |
|---|---|
| Germany | 125 euros |
| United Kingdom | 150 pounds |
| Switzerland | 185 euros |
"""


def test_row_of_a_table_is_read_as_words_and_its_head_is_not_quoted():
    answer = ask("What is the limit for a night in a hotel in Switzerland?", GroundingPassage(1, TABLE, "Hotels"))

    assert answer is not None
    assert "Switzerland – 185 euros. [1]" in answer
    assert "|" not in answer
    assert "Place" not in answer


def test_list_is_quoted_whole_and_in_order():
    passage = GroundingPassage(
        2,
        "A request for a berth is refused only for one of these reasons:\n\n- the ship is longer than the pier,\n"
        "- the harbour dues of last year are not paid,\n- ice covers the basin.",
        "Berths",
    )

    answer = ask("For what reasons is a request for a berth refused?", LAMP, passage)

    assert answer == (
        "the ship is longer than the pier. [2] the harbour dues of last year are not paid. [2] "
        "ice covers the basin. [2]"
    )


def test_nothing_is_said_twice():
    same = GroundingPassage(2, KITCHEN.text, "Kitchen, again")

    answer = ask("When does the kitchen close?", GroundingPassage(1, KITCHEN.text, "Kitchen"), same)

    assert answer is not None
    assert answer.count("21:30") == 1


def test_foreign_markers_in_a_passage_do_not_become_citations():
    passage = GroundingPassage(1, "The kitchen closes at 21:30 [7]. Dinner is free 【2】 for guests.", "Kitchen")

    assert ask("When does the kitchen close?", passage) == "The kitchen closes at 21:30. [1]"


def test_every_sentence_of_an_answer_ends_before_its_marker():
    passage = GroundingPassage(1, TABLE, "Hotels")
    answer = ask("What is the limit for a night in Germany and in the United Kingdom?", passage)

    assert answer is not None
    assert len(split_sentences(answer)) == answer.count("[1]") + 1  # the last marker stands alone


def test_question_in_another_language_does_not_fail():
    assert ask("Wie viele Urlaubstage habe ich im Jahr?") is None
    assert ask("灯台はいつ建てられましたか。") is None


def test_passage_in_another_language_is_quoted_or_refused_never_broken():
    passage = GroundingPassage(1, "Die Küche schließt um 21:30 Uhr. Gäste zahlen 6 Euro.", "Küche")

    assert ask("Wann schließt die Küche?", passage) in (None, "Die Küche schließt um 21:30 Uhr. [1]")


def test_huge_passage_is_read_where_it_shares_words_with_the_question():
    noise = " ".join(f"Buoy {n} was painted in the colour of its channel." for n in range(1500))
    passage = GroundingPassage(1, f"{noise} The kitchen closes at 21:30. {noise}", "Log")

    windows: list[str] = []

    def counting(texts):
        windows.extend(texts)
        return embedding.token_vectors(texts)

    found = gather(Grounding("When does the kitchen close?", (passage,)), counting)

    assert len(windows) <= 1 + evidence.MAX_WINDOWS + evidence.READ_AGAIN
    assert found.findings[0].text == "The kitchen closes at 21:30."


def test_sentence_longer_than_the_model_reads_does_not_fail():
    assert ask("When does the kitchen close?", GroundingPassage(1, "kitchen " * 5000), KITCHEN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("| a | b \\| c |  | d |", "a – b \\| c – d."),
        ("1. Take `**kwargs` and __init__ off", "Take `**kwargs` and init off."),
        ("> It costs 3 * 4 * 5 euros.", "It costs 3 * 4 * 5 euros."),
        ("snake_case_names and 2*3*4 stay", "snake_case_names and 2*3*4 stay."),
        ("**Bold** and ***both*** and _slanted_, then", "Bold and both and slanted, then."),
        ("first\nsecond  line,", "first second line."),
        ("He said [so](https://x.example/a_b_c)!", "He said so!"),
        ("Known since 1990 [12, 13].", "Known since 1990."),
    ],
)
def test_shown_words_are_plain(text, words):
    assert shown(text) == words


def test_units_are_slices_and_know_what_they_are():
    text = f"Hotels\n\nThese limits hold:\n\n{TABLE}\nAsk before you book. Page 3"
    passage = GroundingPassage(1, text, "Hotels")

    units = {text[one.start : one.end]: one for one in units_of(passage)}

    assert not units["Hotels"].quotable
    assert not units["| Place | Limit for a night |"].quotable
    assert units["| Place | Limit for a night |"].introduces
    assert units["These limits hold:"].introduces
    assert units["| Germany | 125 euros |"].quotable
    assert units["| Germany | 125 euros |"].is_item
    assert units["Ask before you book."].quotable
    assert not units["Ask before you book."].is_item
