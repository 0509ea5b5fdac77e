"""The type of a file is what it holds; the name tells kinds of text apart."""

import io
import zipfile
from pathlib import Path

import pytest

from knowledge.ingestion import media_types
from knowledge.ingestion.media_types import UnsupportedType, detect, is_supported, supported
from plugins.contracts import ParsedDocument, ParseError
from plugins.registry import PLUGINS

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
ENCRYPTED = OLE + "EncryptedPackage".encode("utf-16-le") + bytes(600)
HTML = b"<!-- c --><!DOCTYPE html><p>x"
MAIL = b"Received: from a\n by b\nFrom: a@a.example\nSubject: Hello\n\nText"
BINARY = bytes(range(256)) * 4


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 50)
    return buffer.getvalue()


WORD, SLIDES, SHEETS = (zipped("[Content_Types].xml", f"{folder}/x.xml") for folder in ("word", "ppt", "xl"))


def type_of(tmp_path: Path, name: str, content: bytes) -> str:
    path = tmp_path / "stored"
    path.write_bytes(content)
    return detect(path, name)


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.pdf", b"%PDF-1.7\n", media_types.PDF),
        ("a", b"\xef\xbb\xbf\n%PDF-1.4\n", media_types.PDF),
        ("a.docx", WORD, media_types.DOCX),
        ("a.pptx", SLIDES, media_types.PPTX),
        ("a.xlsx", SHEETS, media_types.XLSX),
        ("a", WORD, media_types.DOCX),
        ("a.html", b"<p>no doctype", media_types.HTML),
        ("a", HTML, media_types.HTML),
        ("a.xhtml", b'<?xml version="1.0"?>\n<html>', media_types.HTML),
        ("A.MD", b"# Title", media_types.MARKDOWN),
        ("a.csv", "a,ü".encode("utf-16"), media_types.CSV),
        ("a.tsv", b"a\tb", media_types.CSV),
        ("a.txt", b'{"is": "json"}', media_types.TEXT),
        ("a.log", b"\x1b[31mred\x1b[0m", media_types.TEXT),
        ("a", "Grüße".encode("utf-16-le"), media_types.TEXT),
        ("a", b"Just text: with a colon\n\nSubject: none", media_types.TEXT),
        ("a.eml", b"   \n", media_types.EML),
        ("a", MAIL, media_types.EML),
        ("..\\..\\a.md", b"text", media_types.MARKDOWN),
    ],
)
def test_registered_types_are_told_apart(tmp_path, name, content, expected):
    assert type_of(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.pdf", HTML, media_types.HTML),
        ("a.pdf", WORD, media_types.DOCX),
        ("a.docx", b"%PDF-1.7\n", media_types.PDF),
        ("a.docx", SHEETS, media_types.XLSX),
        ("a.docx", b"plain words", media_types.TEXT),
        ("a.xls", b"<html><table><tr><td>1</table>", media_types.HTML),
        ("a.doc", WORD, media_types.DOCX),
        ("a.txt", b"%PDF-1.7\n", media_types.PDF),
    ],
)
def test_content_goes_before_the_name(tmp_path, name, content, expected):
    assert type_of(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.docx", WORD[: len(WORD) // 2], media_types.DOCX),
        ("a", WORD[: len(WORD) // 2], media_types.DOCX),
        ("a.xlsx", BINARY, media_types.XLSX),
        ("a.pdf", BINARY, media_types.PDF),
        ("a.pdf", b"1 0 obj\n<<>>\nendobj", media_types.PDF),
        ("a.txt", BINARY, media_types.TEXT),
    ],
)
def test_damaged_file_keeps_the_type_of_its_name_for_its_parser_to_say_so(tmp_path, name, content, expected):
    assert type_of(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    "name, content, what",
    [
        ("a.doc", OLE, ".doc"),
        ("a.docx", OLE, "Microsoft Office before 2007"),
        ("a.msg", OLE, ".msg"),
        ("a.odt", zipped("mimetype", "content.xml"), ".odt"),
        ("a.zip", zipped("b.txt"), ".zip"),
        ("a.docx", zipped("b.txt"), "zip archive"),
        ("a.epub", WORD[:10], ".epub"),
        ("a.rtf", b"{\\rtf1 x}", "RTF"),
        ("a.pdf", PNG, "PNG image"),
        ("a.txt", PNG, "PNG image"),
        ("a.json", b"[]", ".json"),
        ("a.xml", b"<?xml version='1.0'?><a/>", ".xml"),
        ("a.ipynb", b"{}", ".ipynb"),
        ("a.asciidoc", b"= Title", ".asciidoc"),
        ("a.bin", BINARY, ".bin"),
        ("a", BINARY, "unknown binary"),
    ],
)
def test_unregistered_type_is_refused_with_the_list_of_types(tmp_path, name, content, what):
    with pytest.raises(UnsupportedType) as caught:
        type_of(tmp_path, name, content)

    assert str(caught.value) == (
        f"Files of this type ({what}) cannot be read. "
        "Supported: .csv, .docx, .eml, .html, .md, .pdf, .pptx, .txt, .xlsx."
    )
    assert caught.value.supported == supported()


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.pptx", "a"])
def test_encrypted_office_file_is_told(tmp_path, name):
    with pytest.raises(ParseError) as caught:
        type_of(tmp_path, name, ENCRYPTED)

    assert caught.value.code == "encrypted"


def test_empty_file_is_told(tmp_path):
    with pytest.raises(ParseError) as caught:
        type_of(tmp_path, "a.txt", b"")

    assert (caught.value.code, caught.value.reason) == ("empty", "The file is empty.")


class NotebookParser:
    name = "notebook-for-test"
    version = 1
    media_types = ("application/x-notebook",)
    extensions = (".ipynb",)

    def parse(self, path: Path) -> ParsedDocument:
        return ParsedDocument(())


def test_type_of_a_plugin_is_known_by_its_extension(tmp_path, monkeypatch):
    monkeypatch.setitem(PLUGINS.parsers._items, "notebook-for-test", NotebookParser())

    assert type_of(tmp_path, "a.ipynb", b"{}") == "application/x-notebook"
    assert ("application/x-notebook", (".ipynb",)) in supported()
    assert is_supported("application/x-notebook")
    assert not is_supported("application/x-encrypted")
    with pytest.raises(UnsupportedType, match=r"\.html, \.ipynb, \.md"):
        type_of(tmp_path, "a.json", b"{}")
