"""Passages follow the structure, and are exact slices of the canonical text."""

import random

import pytest

from knowledge.ingestion.chunking import StructureChunker
from plugins.contracts import Block, BlockKind, ChunkedDocument, ChunkingProfile, ParsedDocument

PARAGRAPH, HEADING, TABLE, CODE = BlockKind.PARAGRAPH, BlockKind.HEADING, BlockKind.TABLE, BlockKind.CODE


def words(text: str) -> int:
    return len(text.split())


def marked_words(text: str) -> int:
    """As a tokenizer that adds a start and an end mark counts."""
    return words(text) + 2


def characters(text: str) -> int:
    return len(text)


def chunk(*blocks: Block, max_tokens: int = 10, overlap_tokens: int = 0, counter=words) -> ChunkedDocument:
    profile = ChunkingProfile(max_tokens=max_tokens, overlap_tokens=overlap_tokens)
    return StructureChunker().chunk(ParsedDocument(blocks=blocks), profile, counter)


def texts(chunked: ChunkedDocument) -> list[str]:
    return [draft.text for draft in chunked.chunks]


def paragraph(text: str, page: int | None = None) -> Block:
    return Block(PARAGRAPH, text, page=page)


def heading(text: str, level: int = 1, page: int | None = None) -> Block:
    return Block(HEADING, text, level=level, page=page)


def test_small_paragraphs_share_a_passage_with_their_heading():
    chunked = chunk(heading("Leave"), paragraph("One two three."), paragraph("Four five."))

    assert chunked.text == "Leave\n\nOne two three.\n\nFour five."
    assert texts(chunked) == [chunked.text]
    assert chunked.chunks[0].heading_path == ("Leave",)


def test_section_begins_a_passage_and_headings_form_a_path():
    chunked = chunk(
        heading("Book"),
        heading("One", 2),
        paragraph("a b."),
        heading("Two", 2),
        paragraph("c d."),
        heading("Annex", 1),
        paragraph("e f."),
    )

    assert texts(chunked) == ["Book\n\nOne\n\na b.", "Two\n\nc d.", "Annex\n\ne f."]
    assert [draft.heading_path for draft in chunked.chunks] == [("Book", "One"), ("Book", "Two"), ("Annex",)]


def test_page_begins_a_passage_and_is_named():
    chunked = chunk(paragraph("a b.", page=1), paragraph("c d.", page=1), paragraph("e f.", page=2))

    assert [(draft.text, draft.page) for draft in chunked.chunks] == [("a b.\n\nc d.", 1), ("e f.", 2)]


def test_heading_at_the_end_of_a_page_belongs_to_the_text_on_the_next():
    chunked = chunk(heading("Leave", page=1), paragraph("a b.", page=2))

    assert [(draft.text, draft.page) for draft in chunked.chunks] == [("Leave\n\na b.", 2)]


def test_slides_that_hold_a_title_alone_stay_apart():
    chunked = chunk(heading("One", page=1), heading("Two", page=2))

    assert [(draft.text, draft.page) for draft in chunked.chunks] == [("One", 1), ("Two", 2)]


def test_paragraph_that_does_not_fit_moves_whole_to_the_next_passage():
    chunked = chunk(paragraph("a b c d e f."), paragraph("g h. i j k l."))

    assert texts(chunked) == ["a b c d e f.", "g h. i j k l."]


def test_long_paragraph_is_cut_between_sentences_with_overlap():
    chunked = chunk(paragraph("One a b c d. Two e. Three f g h i. Four j k."), max_tokens=8, overlap_tokens=2)

    assert texts(chunked) == ["One a b c d. Two e.", "Two e. Three f g h i.", "Four j k."]


def test_heading_stays_with_the_first_sentences_of_a_long_paragraph():
    chunked = chunk(heading("Leave"), paragraph("One a b c. Two d e f. Three g h."), max_tokens=8)

    assert texts(chunked) == ["Leave\n\nOne a b c.", "Two d e f. Three g h."]


def test_table_is_cut_by_rows_and_code_by_lines_without_overlap():
    table = "| a | b |\n| 1 | 2 |\n| 3 | 4 |"
    code = "if x:\n    return 1\n\nreturn 2"

    assert texts(chunk(Block(TABLE, table), max_tokens=10, overlap_tokens=5)) == [
        "| a | b |\n| 1 | 2 |",
        "| 3 | 4 |",
    ]
    assert texts(chunk(Block(CODE, code), max_tokens=4, overlap_tokens=2)) == ["if x:\n    return 1", "return 2"]


def test_sentence_over_the_limit_is_cut_between_words():
    chunked = chunk(paragraph(" ".join(f"w{n}" for n in range(30))), max_tokens=10)

    assert " ".join(texts(chunked)) == chunked.text
    assert all(words(text) <= 10 for text in texts(chunked))


def test_huge_word_is_cut_even_when_it_counts_as_one_token():
    chunked = chunk(paragraph("x" * 100_000), max_tokens=100)

    assert "".join(texts(chunked)) == chunked.text
    assert max(len(text) for text in texts(chunked)) <= 100 * 17


def test_blank_blocks_leave_no_trace():
    chunked = chunk(paragraph(" \n"), paragraph("\n  a b.\n\n"))

    assert chunked.text == "  a b."
    assert texts(chunked) == ["  a b."]
    assert chunk().chunks == ()


def random_blocks(source: random.Random) -> list[Block]:
    """A document of every kind of block, with long words, wide characters and empty parts among them."""
    alphabet = [
        "word",
        "Leave",
        "x" * 90,
        "日本語。",
        "a.b",
        "end.",
        "Why?",
        "| c |",
        "\n",
        "\n\n",
        "  ",
        "e.g.",
        "(2.5)",
    ]
    blocks = []
    page = 1
    for _ in range(source.randrange(0, 12)):
        page += source.random() < 0.2
        text = " ".join(source.choice(alphabet) for _ in range(source.choice([0, 3, 15, 120])))
        blocks.append(Block(source.choice(list(BlockKind)), text, level=source.randrange(1, 5), page=page))
    return blocks


@pytest.mark.parametrize("counter, limit", [(words, 12), (marked_words, 12), (characters, 60), (characters, 1)])
def test_every_passage_is_a_slice_under_the_limit_and_nothing_is_lost(counter, limit):
    source = random.Random(7)
    for _ in range(60):
        blocks = random_blocks(source)

        chunked = chunk(*blocks, max_tokens=limit, overlap_tokens=4, counter=counter)

        covered = bytearray(len(chunked.text))
        for ordinal, draft in enumerate(chunked.chunks):
            assert draft.ordinal == ordinal
            assert draft.text == chunked.text[draft.char_start : draft.char_end]
            assert counter(draft.text) <= limit
            covered[draft.char_start : draft.char_end] = b"\1" * len(draft.text)
        lost = [char for char, seen in zip(chunked.text, covered, strict=True) if not seen and not char.isspace()]
        assert lost == []
        assert chunked == chunk(*blocks, max_tokens=limit, overlap_tokens=4, counter=counter)
