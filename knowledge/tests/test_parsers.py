"""Text, Markdown, HTML, CSV and mail: structure is found, and the text stays as it was written."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.parsers import parser_for
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

HEADING, PARAGRAPH, LIST, TABLE, CODE, QUOTE = (
    BlockKind.HEADING,
    BlockKind.PARAGRAPH,
    BlockKind.LIST,
    BlockKind.TABLE,
    BlockKind.CODE,
    BlockKind.QUOTE,
)
SCRIPTS = "Grüße, “quotes” — 日本語 العربية हिन्दी (brackets) [x] {y} https://a.example/?x=1&y=2#z"


@pytest.fixture
def parse(tmp_path):
    """Parses some content as a media type."""

    def run(media_type: str, content: bytes | str) -> ParsedDocument:
        path: Path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return parser_for(media_type).parse(path)

    return run


def blocks(document: ParsedDocument) -> list[tuple[BlockKind, str]]:
    return [(block.kind, block.text) for block in document.blocks]


def code_of(parse, media_type: str, content: bytes | str) -> str:
    with pytest.raises(ParseError) as caught:
        parse(media_type, content)
    return caught.value.code


# --- encodings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_text_is_decoded_exactly(encoding):
    assert decode(SCRIPTS.encode(encoding)) == SCRIPTS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_known_by_its_zero_bytes(encoding):
    assert decode("Plain Latin text, ü".encode(encoding)) == "Plain Latin text, ü"


def test_declared_encoding_is_believed_when_it_fits():
    assert decode("Привет, мир".encode("koi8-r"), "koi8-r") == "Привет, мир"


def test_undeclared_old_encoding_is_guessed():
    text = "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5

    assert decode(text.encode("cp1251")) == text


@pytest.mark.parametrize("declared", ["", "no-such-encoding", "ascii"])
def test_broken_byte_in_utf8_costs_one_character(declared):
    data = "Größe über alles, süß".encode() + b"\xff" + "äöü".encode()

    assert decode(data, declared) == "Größe über alles, süß\ufffdäöü"


@pytest.mark.parametrize("data, code", [(b" \n\t\x00", "no_text"), (bytes(range(1, 32)) * 9, "type_mismatch")])
def test_what_is_not_text_is_told(data, code):
    with pytest.raises(ParseError) as caught:
        decode(data)

    assert caught.value.code == code


# --- plain text ------------------------------------------------------------------------------------------------


def test_text_keeps_its_lines_and_is_cut_at_blank_ones(parse):
    document = parse("text/plain", f"{SCRIPTS}\r\n  indented\r\n\r\n \r\nif x:\r\n\tgo()\r\n")

    assert blocks(document) == [(PARAGRAPH, f"{SCRIPTS}\n  indented"), (PARAGRAPH, "if x:\n\tgo()")]


# --- Markdown --------------------------------------------------------------------------------------------------

MARKDOWN = """---
title: "The handbook"
tags:
  - a
author: Ann
---
# Title with `code`

Text with [a link](https://a.example/x_(y)) and *stars*.
Second line.

## Part

- one
  - two

```python
def f(x):

    return {"a": [1]}  # no heading
```

| a | b |
|---|---|
| 1 | `x|y` |

> quoted

Setext
------
"""


def test_markdown_keeps_its_source_in_blocks(parse):
    document = parse("text/markdown", MARKDOWN)

    assert document.title == "The handbook"
    assert document.metadata == {"title": "The handbook", "author": "Ann"}
    assert document.blocks[0] == Block(HEADING, "Title with `code`", level=1)
    assert [block.level for block in document.blocks if block.kind is HEADING] == [1, 2, 2]
    assert blocks(document)[1:] == [
        (PARAGRAPH, "Text with [a link](https://a.example/x_(y)) and *stars*.\nSecond line."),
        (HEADING, "Part"),
        (LIST, "- one\n  - two"),
        (CODE, '```python\ndef f(x):\n\n    return {"a": [1]}  # no heading\n```'),
        (TABLE, "| a | b |\n|---|---|\n| 1 | `x|y` |"),
        (QUOTE, "> quoted"),
        (HEADING, "Setext"),
    ]


def test_markdown_without_front_matter_is_titled_by_its_first_heading(parse):
    document = parse("text/markdown", "intro\n\n## First\n")

    assert document.title == "First"
    assert document.metadata == {}


# --- HTML ------------------------------------------------------------------------------------------------------


def html(parse, body: str, head: str = "") -> list[tuple[BlockKind, str]]:
    return blocks(parse("text/html", f"<html><head>{head}</head><body>{body}</body></html>"))


def test_html_structure_is_found(parse):
    document = parse(
        "text/html",
        "<title>A  page</title><h1>One<br>Two</h1><p>Some <b>bold</b>,\n <i>it</i>alic.<br>Line</p>"
        "<ul><li>a<ul><li>b</li></ul></li></ul><ol><li>x<li>y</ol><blockquote>Said</blockquote>"
        "<pre>def f():\n    return [1, &quot;x&quot;]\n</pre><dl><dt>Term<dd>Meaning</dl>",
    )

    assert document.title == "A page"
    assert document.blocks[0] == Block(HEADING, "One Two", level=1)
    assert blocks(document)[1:] == [
        (PARAGRAPH, "Some bold, italic.\nLine"),
        (LIST, "- a\n  - b"),
        (LIST, "1. x\n2. y"),
        (QUOTE, "Said"),
        (CODE, 'def f():\n    return [1, "x"]'),
        (PARAGRAPH, "Term"),
        (PARAGRAPH, "Meaning"),
    ]


def test_html_table_becomes_rows(parse):
    table = "<table><tr><th>Name<th>Days<tr><td>Leave<br>annual<td>30 | 31</table>"

    assert html(parse, table) == [(TABLE, "| Name | Days |\n| --- | --- |\n| Leave annual | 30 \\| 31 |")]


def test_html_table_for_the_layout_is_read_as_text(parse):
    assert html(parse, "<table><tr><td><h2>T</h2><p>a</p></td></tr></table>") == [(HEADING, "T"), (PARAGRAPH, "a")]


def test_code_inside_a_list_stays_code(parse):
    found = html(parse, "<ol><li>Run<pre>a\n  b</pre></li><li>done</li></ol>")

    assert found == [(PARAGRAPH, "- Run"), (CODE, "a\n  b"), (PARAGRAPH, "- done")]


def test_html_noise_is_left_out_and_forms_are_kept(parse):
    found = html(
        parse,
        "<script>var x = 'no'</script><style>p{}</style><nav>Menu</nav><p hidden>no</p><noscript>no</noscript>"
        "<form><p>In a form</p><button>no</button><select><option>no</select></form>",
        "<style>p{}</style><meta name=x>",
    )

    assert found == [(PARAGRAPH, "In a form")]


def test_main_part_goes_before_the_page(parse):
    text = "The content of the page. " * 5

    assert html(parse, f"<div>Advert</div><main><p>{text}</p></main>") == [(PARAGRAPH, text.strip())]


def test_several_articles_or_a_small_main_part_hide_nothing(parse):
    text = "word " * 100

    assert len(html(parse, "<article><p>a</p></article><article><p>b</p></article>")) == 2
    assert html(parse, f"<main>x</main><p>{text}</p>") == [(PARAGRAPH, "x"), (PARAGRAPH, text.strip())]


@pytest.mark.parametrize("declared, encoding", [("windows-1252", "cp1252"), ("shift_jis", "shift_jis")])
def test_declared_charset_of_html_is_used(parse, declared, encoding):
    text = "Grüße" if encoding == "cp1252" else "日本語の文書"

    assert blocks(parse("text/html", f'<meta charset="{declared}"><p>{text}</p>'.encode(encoding))) == [
        (PARAGRAPH, text)
    ]


def test_html_nested_without_end_keeps_its_text(parse):
    assert html(parse, "<div>" * 3000 + "deep") == [(PARAGRAPH, "deep")]


# --- CSV -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found(parse, separator):
    rows = separator.join("ab") + "\r\n" + separator.join(["1", '"x\ny"']) + "\r\n"

    assert blocks(parse("text/csv", rows)) == [(TABLE, "| a | b |\n| --- | --- |\n| 1 | x y |")]


def test_ragged_rows_are_kept_whole(parse):
    found = blocks(parse("text/csv", "1,2,3\na,b,c,d\n\nx\n"))

    assert found == [(TABLE, "| 1 | 2 | 3 |  |\n| --- | --- | --- | --- |\n| a | b | c | d |\n| x |  |  |  |")]


def test_csv_in_utf16_and_with_long_cells_is_read(parse):
    long = "z" * 200_000

    assert long in blocks(parse("text/csv", f"ä,b\n1,{long}\n".encode("utf-16")))[0][1]


def test_csv_with_an_endless_cell_is_damaged(parse):
    assert code_of(parse, "text/csv", 'a,"' + "b" * 10_000_001) == "damaged"


# --- mail ------------------------------------------------------------------------------------------------------


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"Subject": "Grüße", "From": "Ann <ann@a.example>", **headers}.items():
        message[name] = value
    return message


def test_mail_is_read_from_its_text_part(parse):
    message = mail(To="bob@b.example", Date="Fri, 16 Dec 2022 17:04:16 -0500")
    message.set_content("Dear Bob,\n\n  - roses “red”\n")
    message.add_alternative("<p>other</p>", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Plan ü.pdf")

    document = parse("message/rfc822", message.as_bytes())

    assert document.title == "Grüße"
    assert document.metadata["from"] == "Ann <ann@a.example>"
    assert document.metadata["date"] == "Fri, 16 Dec 2022 17:04:16 -0500"
    assert blocks(document) == [
        (HEADING, "Grüße"),
        (PARAGRAPH, "From: Ann <ann@a.example>\nTo: bob@b.example\nDate: Fri, 16 Dec 2022 17:04:16 -0500"),
        (PARAGRAPH, "Dear Bob,"),
        (PARAGRAPH, "  - roses “red”"),
        (PARAGRAPH, "Attachments: Plan ü.pdf"),
    ]


def test_mail_without_a_text_part_is_read_from_its_html(parse):
    message = mail()
    message.set_content("<h1>News</h1><p>One</p>", subtype="html")

    assert blocks(parse("message/rfc822", message.as_bytes()))[2:] == [(HEADING, "News"), (PARAGRAPH, "One")]


def test_mail_with_broken_encodings_survives(parse):
    raw = (
        b"From: =?no-such?q?x?= <a@a.example>\nSubject: =?utf-8?b?////?= end\nDate: nonsense\n"
        b"Content-Type: text/plain; charset=no-such\nContent-Transfer-Encoding: base64\n\nR3LDvMOfZQ==\n"
    )

    document = parse("message/rfc822", raw)

    assert document.title.endswith("end")
    assert blocks(document)[-1] == (PARAGRAPH, "Grüße")


@pytest.mark.parametrize(
    "raw, code",
    [
        (b"Subject: x\nContent-Type: multipart/encrypted; boundary=b\n\n--b\n\nx\n--b--\n", "encrypted"),
        (b"Subject: x\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nAAAA\n", "encrypted"),
        (b"Subject: x\nContent-Type: application/pkcs7-mime; smime-type=signed-data\n\nAAAA\n", "no_text"),
        (b"Subject: x\n\n-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n", "encrypted"),
        (b"\n   \n", "no_text"),
    ],
)
def test_mail_that_cannot_be_read_says_why(parse, raw, code):
    assert code_of(parse, "message/rfc822", raw) == code
