"""The built-in parsers, by media type. Each module imports its library when it is asked."""

import importlib
from typing import Any

from knowledge.ingestion import media_types
from plugins.contracts import ParseError, Parser

BUILT_IN = {
    media_types.PDF: "pdf.PdfParser",
    media_types.DOCX: "docx.DocxParser",
    media_types.PPTX: "pptx.PptxParser",
    media_types.XLSX: "xlsx.XlsxParser",
    media_types.HTML: "html.HtmlParser",
    media_types.MARKDOWN: "markdown.MarkdownParser",
    media_types.CSV: "csv.CsvParser",
    media_types.TEXT: "text.TextParser",
    media_types.EML: "eml.EmlParser",
}
LIBRARIES = (
    "pypdfium2", "docx", "pptx", "openpyxl", "selectolax.lexbor", "markdown_it", "charset_normalizer", "lxml.etree",
    "email.policy", "csv", "encodings.idna",
)  # fmt: skip

_registered: dict[str, Parser] = {}


def register(parser: Parser) -> None:
    """Let a parser read its media types; a later one takes over from a built-in one."""
    for media_type in parser.media_types:
        _registered[media_type] = parser


def parser_for(media_type: str) -> Parser:
    """The parser of a media type. Raises ParseError(type_mismatch) when there is none."""
    if media_type not in _registered:
        if media_type not in BUILT_IN:
            raise ParseError("type_mismatch", f"There is no parser for {media_type}.")
        module, name = BUILT_IN[media_type].split(".")
        loaded: Any = importlib.import_module(f"knowledge.ingestion.parsers.{module}")
        register(getattr(loaded, name)())
    return _registered[media_type]


def warm() -> None:
    """Import every parser's library, in a process that may not load shared objects later."""
    for library in LIBRARIES:
        importlib.import_module(library)
