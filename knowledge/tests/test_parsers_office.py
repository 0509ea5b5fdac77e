"""DOCX, PPTX and XLSX: structure and text kept, and files that lie or are locked refused with a true reason."""

import datetime
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from knowledge.ingestion.parsers.docx import DocxParser
from knowledge.ingestion.parsers.office import check_container
from knowledge.ingestion.parsers.pptx import PptxParser
from knowledge.ingestion.parsers.tables import markdown_table
from knowledge.ingestion.parsers.xlsx import XlsxParser
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)
HEADING, PARAGRAPH, LIST, TABLE = BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE


def word(tmp_path: Path, write: Callable[[Any], None]) -> ParsedDocument:
    document = docx.Document()
    write(document)
    path = tmp_path / "file.docx"
    document.save(path)
    return DocxParser().parse(path)


def xml_paragraph(inside: str) -> Callable[[Any], None]:
    """A body that holds one paragraph, written as XML."""

    def write(document: Any) -> None:
        document.element.body.insert(0, parse_xml(f"<w:p {NAMESPACES}>{inside}</w:p>"))

    return write


def texts(document: ParsedDocument) -> list[str]:
    return [block.text for block in document.blocks]


def rewritten(path: Path, changes: dict[str, bytes | Callable[[bytes], bytes]]) -> Path:
    """The same zip with some members changed or added."""
    target = path.with_name(f"changed{path.suffix}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name in {*source.namelist(), *changes}:
            change = changes.get(name)
            data = change if isinstance(change, bytes) else source.read(name)
            out.writestr(name, change(data) if callable(change) else data)
    return target


# --- docx ------------------------------------------------------------------------------------------------------


def test_word_keeps_headings_lists_tables_and_order(tmp_path):
    def write(document):
        document.core_properties.title = "The handbook"
        document.add_heading("Handbook", 0)
        document.add_heading("Leave", 2)
        document.add_paragraph('He said: "Take [28] days (all)" — see https://a.example/x?y=1.')
        document.add_paragraph("One", style="List Bullet")
        document.add_paragraph("Two", style="List Number")
        table = document.add_table(2, 2)
        for index, cell in enumerate(cell for row in table.rows for cell in row.cells):
            cell.text = ["Kind", "Days", "Annual | paid", "28"][index]
        document.add_paragraph("After.")

    document = word(tmp_path, write)

    assert document.title == "The handbook"
    assert document.blocks == (
        Block(HEADING, "Handbook", 1),
        Block(HEADING, "Leave", 2),
        Block(PARAGRAPH, 'He said: "Take [28] days (all)" — see https://a.example/x?y=1.'),
        Block(LIST, "- One\n- Two"),
        Block(TABLE, "| Kind | Days |\n| --- | --- |\n| Annual \\| paid | 28 |"),
        Block(PARAGRAPH, "After."),
    )


def test_word_style_with_an_outline_level_is_a_heading(tmp_path):
    def write(document):
        style = document.styles.add_style("Kapitel", 1)
        style.element.append(parse_xml(f'<w:pPr {NAMESPACES}><w:outlineLvl w:val="2"/></w:pPr>'))
        document.styles.add_style("Unterkapitel", 1).base_style = style
        document.add_paragraph("A", style="Kapitel")
        document.add_paragraph("B", style="Unterkapitel")

    assert [(block.kind, block.level) for block in word(tmp_path, write).blocks] == [(HEADING, 3), (HEADING, 3)]


def test_word_code_keeps_its_lines_and_indents(tmp_path):
    def write(document):
        document.styles.add_style("Source Code", 1)
        for line in ("if x:", "    return 1"):
            document.add_paragraph(line, style="Source Code")

    assert word(tmp_path, write).blocks == (Block(BlockKind.CODE, "if x:\n    return 1"),)


def test_word_text_box_in_a_cell_is_read_once(tmp_path):
    box = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"

    def write(document):
        cell = document.add_table(1, 1).cell(0, 0)
        cell._tc.append(parse_xml(f"<w:p {NAMESPACES}><w:r><w:t>a</w:t>{both}</w:r></w:p>"))

    assert texts(word(tmp_path, write)) == ["| a boxed |"]


def test_word_merged_and_nested_cells_stay_in_their_columns(tmp_path):
    def write(document):
        table = document.add_table(2, 3)
        table.cell(0, 0).merge(table.cell(0, 1)).text = "Wide"
        table.cell(0, 2).text = "C"
        table.cell(1, 0).text, table.cell(1, 2).text = "a", "c"
        table.cell(1, 1).add_table(1, 1).cell(0, 0).text = "inner"

    assert texts(word(tmp_path, write)) == ["| Wide |  | C |\n| --- | --- | --- |\n| a | inner | c |"]


@pytest.mark.parametrize(
    "inside, expected",
    [
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r>", ["a\tb\nc-d"]),
        ("<w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins>", ["new"]),
        ("<w:moveFrom><w:r><w:t>old place</w:t></w:r></w:moveFrom><w:r><w:t>x</w:t></w:r>", ["x"]),
        ("<w:r><w:instrText>PAGE</w:instrText><w:t>7</w:t></w:r>", ["7"]),
        (
            "<w:r><w:t>before</w:t><mc:AlternateContent>"
            "<mc:Choice><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></mc:Choice>"
            "<mc:Fallback><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent></mc:Fallback>"
            "</mc:AlternateContent></w:r>",
            ["before", "boxed"],
        ),
        ('<w:r><w:t>5 </w:t><w:sym w:font="Symbol" w:char="00B5"/><w:t>m</w:t><w:sym w:char="F0E0"/></w:r>', ["5 µm"]),
    ],
)
def test_word_text_is_what_a_reader_sees(tmp_path, inside, expected):
    assert texts(word(tmp_path, xml_paragraph(inside))) == expected


def run(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    "equation, expected",
    [
        (f"<m:sSup><m:e>{run('r')}</m:e><m:sup>{run('2')}</m:sup></m:sSup>", "r^2"),
        (
            f"<m:sSubSup><m:e>{run('x')}</m:e><m:sub>{run('i+1')}</m:sub><m:sup>{run('2')}</m:sup></m:sSubSup>",
            "x_(i+1)^2",
        ),
        (f"<m:f><m:num>{run('a+b')}</m:num><m:den>{run('c')}</m:den></m:f>", "(a+b)/c"),
        (f"<m:rad><m:deg>{run('3')}</m:deg><m:e>{run('x')}</m:e></m:rad>", "√[3](x)"),
        (
            f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{run("n=1")}</m:sub><m:sup>{run("∞")}</m:sup>'
            f"<m:e>{run('n')}</m:e></m:nary>",
            "∑_(n=1)^∞ n",
        ),
        (f"<m:nary><m:naryPr/><m:sub/><m:sup/><m:e>{run('xdx')}</m:e></m:nary>", "∫ xdx"),
        (f"<m:d><m:e>{run('a')}</m:e><m:e>{run('b')}</m:e></m:d>", "(a, b)"),
        (f"<m:func><m:fName>{run('sin')}</m:fName><m:e>{run('x')}</m:e></m:func>", "sin x"),
        (f"<m:limLow><m:e>{run('max')}</m:e><m:lim>{run('x')}</m:lim></m:limLow>", "max_x"),
        (f"<m:limUpp><m:e>{run('a')}</m:e><m:lim>{run('b')}</m:lim></m:limUpp>", "a^b"),
        (f"<m:sPre><m:sub>{run('1')}</m:sub><m:sup>{run('2')}</m:sup><m:e>{run('H')}</m:e></m:sPre>", "_1^2 H"),
        (
            f"<m:m><m:mr><m:e>{run('1')}</m:e><m:e>{run('0')}</m:e></m:mr><m:mr><m:e>{run('2')}</m:e></m:mr></m:m>",
            "1, 0; 2",
        ),
    ],
)
def test_word_equation_becomes_one_line(tmp_path, equation, expected):
    document = word(tmp_path, xml_paragraph(f"<w:r><w:t>A = </w:t></w:r><m:oMath>{equation}</m:oMath>"))

    assert texts(document) == [f"A = {expected}"]


def test_word_notes_follow_their_paragraph(tmp_path):
    note = '<w:footnote w:id="2"><w:p><w:r><w:t>A note.</w:t></w:r></w:p></w:footnote>'
    notes = f"<w:footnotes {NAMESPACES}>{note}</w:footnotes>"

    def write(document):
        xml_paragraph('<w:r><w:t>Text</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r>')(document)
        part = Part(PackURI("/word/footnotes.xml"), "application/xml", notes.encode(), document.part.package)
        document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)

    assert texts(word(tmp_path, write)) == ["Text", "Note: A note."]


def test_word_content_controls_are_read_through(tmp_path):
    def write(document):
        document.add_paragraph("inside")
        body = document.element.body
        control = parse_xml(f"<w:sdt {NAMESPACES}><w:sdtContent/></w:sdt>")
        body.insert(0, control)
        control[0].append(body[1])

    assert texts(word(tmp_path, write)) == ["inside"]


def test_word_file_with_macros_is_read_without_them(tmp_path):
    word(tmp_path, lambda document: document.add_paragraph("Text."))
    main = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    macros = b"application/vnd.ms-word.document.macroEnabled.main+xml"
    path = rewritten(tmp_path / "file.docx", {"[Content_Types].xml": lambda data: data.replace(main, macros)})

    assert texts(DocxParser().parse(path)) == ["Text."]


# --- pptx ------------------------------------------------------------------------------------------------------


def slides(tmp_path: Path, write: Callable[[Any], None]) -> ParsedDocument:
    deck = pptx.Presentation()
    write(deck)
    path = tmp_path / "file.pptx"
    deck.save(path)
    return PptxParser().parse(path)


def test_slide_is_a_page_under_its_title(tmp_path):
    def write(deck):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = "Leave\vrules"
        frame = slide.placeholders[1].text_frame
        frame.text = "28 days"
        second = frame.add_paragraph()
        second.text, second.level = "5 may be carried over", 1
        slide.notes_slide.notes_text_frame.text = "Say it slowly."
        untitled = deck.slides.add_slide(deck.slide_layouts[6])
        untitled.shapes.add_textbox(0, 0, 1, 1).text_frame.text = "A box"
        deck.slides.add_slide(deck.slide_layouts[6])

    assert slides(tmp_path, write).blocks == (
        Block(HEADING, "Leave rules", 1, 1),
        Block(LIST, "- 28 days\n  - 5 may be carried over", None, 1),
        Block(PARAGRAPH, "Notes: Say it slowly.", None, 1),
        Block(HEADING, "Slide 2", 1, 2),
        Block(PARAGRAPH, "A box", None, 2),
    )


def test_tables_charts_and_groups_of_a_slide_are_read(tmp_path):
    data = CategoryChartData()
    data.categories = ["007", "2025"]
    data.add_series("Sales", (1.5, 20))

    def write(deck):
        shapes = deck.slides.add_slide(deck.slide_layouts[5]).shapes
        shapes.title.text = "Figures"
        table = shapes.add_table(2, 1, 0, 0, Inches(1), Inches(1)).table
        table.cell(0, 0).text, table.cell(1, 0).text = "Head", "Cell"
        chart = shapes.add_chart(XL_CHART_TYPE.LINE, 0, 0, Inches(3), Inches(3), data).chart
        chart.has_title = True
        chart.chart_title.text_frame.text = "Sales by year"
        plot = next(node for node in chart._chartSpace.iter() if node.tag.endswith("}lineChart"))
        plot.tag = plot.tag.replace("lineChart", "line3DChart")  # a kind that the library does not know
        shapes.add_group_shape().shapes.add_textbox(0, 0, 1, 1).text_frame.text = "Grouped"

    assert texts(slides(tmp_path, write)) == [
        "Figures",
        "| Head |\n| --- |\n| Cell |",
        "Sales by year",
        "|  | Sales |\n| --- | --- |\n| 007 | 1.5 |\n| 2025 | 20 |",
        "Grouped",
    ]


def test_diagram_of_a_slide_is_a_list(tmp_path):
    drawing = "http://schemas.openxmlformats.org/drawingml/2006"
    data = f'<d xmlns:a="{drawing}/main"><a:p><a:t>Plan</a:t></a:p><a:p/><a:p><a:t>Do</a:t></a:p></d>'

    def write(deck):
        shapes = deck.slides.add_slide(deck.slide_layouts[6]).shapes
        frame = shapes.add_table(1, 1, 0, 0, 1, 1)
        part = pptx.opc.package.Part(
            pptx.opc.packuri.PackURI("/ppt/diagrams/data1.xml"), "application/xml", deck.part.package
        )
        part.blob = data.encode()
        relation = shapes.part.relate_to(part, f"{drawing}/relationships/diagramData")
        graphic = frame._element.graphic.graphicData
        graphic.set("uri", f"{drawing}/diagram")
        graphic.remove(graphic[0])
        relationships = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        graphic.append(
            parse_xml(f'<x:relIds xmlns:x="{drawing}/diagram" xmlns:r="{relationships}" r:dm="{relation}"/>')
        )

    assert texts(slides(tmp_path, write)) == ["Slide 1", "- Plan\n- Do"]


# --- xlsx ------------------------------------------------------------------------------------------------------


def test_sheet_is_a_page_with_its_cells_as_a_table(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Leave"
    book.active.append(["Kind", "Days", "From", None, "At"])
    book.active.append(["Annual", 28.0, datetime.date(2026, 1, 31), None, datetime.datetime(2026, 1, 31, 9, 5)])
    book.active.append([])
    book.active.append(["Half\nday", 0.1 + 0.2, True, None, 0.102])
    book.active["E4"].number_format = "0.00%"
    book.create_sheet("Empty")
    book.create_sheet("Other").append(["x"])
    path = tmp_path / "file.xlsx"
    book.save(path)

    assert XlsxParser().parse(path).blocks == (
        Block(HEADING, "Leave", 1, 1),
        Block(
            TABLE,
            "| Kind | Days | From | At |\n| --- | --- | --- | --- |\n"
            "| Annual | 28 | 2026-01-31 | 2026-01-31 09:05 |\n| Half day | 0.3 | True | 10.20% |",
            None,
            1,
        ),
        Block(HEADING, "Other", 1, 3),
        Block(TABLE, "| x |", None, 3),
    )


def test_workbook_without_its_parts_is_damaged(tmp_path):
    path = tmp_path / "file.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/nothing.xml", "<x/>")

    with pytest.raises(ParseError) as caught:
        XlsxParser().parse(path)
    assert caught.value.code == "damaged"


def test_sheet_with_too_many_cells_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("knowledge.ingestion.parsers.xlsx.MAX_CELLS", 5)
    book = openpyxl.Workbook()
    for _ in range(3):
        book.active.append([1, 2, 3])
    path = tmp_path / "file.xlsx"
    book.save(path)

    with pytest.raises(ParseError) as caught:
        XlsxParser().parse(path)
    assert caught.value.code == "too_large"


# --- containers ------------------------------------------------------------------------------------------------


def archive(tmp_path: Path, members: dict[str, bytes]) -> Path:
    path = tmp_path / "file.docx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ParseError) as caught:
        check_container(path)
    return caught.value.code


def test_bomb_is_refused_before_it_is_unpacked(tmp_path):
    assert refusal(archive(tmp_path, {"word/document.xml": b"\0" * (40 << 20)})) == "too_large"


def test_many_small_repetitions_are_no_bomb(tmp_path):
    check_container(archive(tmp_path, {"word/document.xml": b"\0" * (9 << 20)}))


def test_locked_and_cut_containers_are_told_apart(tmp_path):
    path = archive(tmp_path, {"word/document.xml": b"<x/>"})
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    assert refusal(path) == "encrypted"

    path.write_bytes(whole[:40])
    assert refusal(path) == "damaged"


# --- tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows, expected",
    [
        ([], ""),
        ([["", ""], [" "]], ""),
        ([["a", "", "b"]], "| a | b |"),
        ([["a", "b"], ["1"], ["1", "2", "3"]], "| a | b |  |\n| --- | --- | --- |\n| 1 |  |  |\n| 1 | 2 | 3 |"),
        ([["a\nb", "c|d"]], "| a b | c\\|d |"),
    ],
)
def test_rows_as_a_markdown_table(rows, expected):
    assert markdown_table(rows) == expected


# --- entities --------------------------------------------------------------------------------------------------


def word_file(path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("Text MARK.")
    document.save(path)


def deck_file(path: Path) -> None:
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Text MARK."
    deck.save(path)


def book_file(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Text MARK."])
    book.save(path)


@pytest.mark.parametrize(
    "write, name, member, root, parser",
    [
        (word_file, "file.docx", "word/document.xml", b"<w:document", DocxParser()),
        (deck_file, "file.pptx", "ppt/slides/slide1.xml", b"<p:sld", PptxParser()),
        (book_file, "file.xlsx", "xl/worksheets/sheet1.xml", b"<worksheet", XlsxParser()),
    ],
)
def test_external_entity_reaches_nothing(tmp_path, write, name, member, root, parser):
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    write(tmp_path / name)

    def with_entity(data: bytes) -> bytes:
        doctype = f'<!DOCTYPE d [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'.encode()
        assert root in data
        assert b"MARK" in data
        return data.replace(root, doctype + root, 1).replace(b"MARK", b"&x;")

    path = rewritten(tmp_path / name, {member: with_entity})

    try:
        read = " ".join(texts(parser.parse(path)))
    except (ValueError, SyntaxError) as refused:  # as the library of this format answers an entity
        read = str(refused)
    assert "the secret" not in read
