"""The built-in parsers. Light to import: each loads its library when it reads its first file."""

from knowledge.ingestion.parsers.csv import CsvParser
from knowledge.ingestion.parsers.docx import DocxParser
from knowledge.ingestion.parsers.eml import EmlParser
from knowledge.ingestion.parsers.html import HtmlParser
from knowledge.ingestion.parsers.markdown import MarkdownParser
from knowledge.ingestion.parsers.pdf import PdfParser
from knowledge.ingestion.parsers.pptx import PptxParser
from knowledge.ingestion.parsers.text import TextParser
from knowledge.ingestion.parsers.xlsx import XlsxParser
from plugins.contracts import ParseError, Parser
from plugins.registry import PLUGINS

BUILT_IN: tuple[Parser, ...] = (
    PdfParser(),
    DocxParser(),
    PptxParser(),
    XlsxParser(),
    HtmlParser(),
    MarkdownParser(),
    CsvParser(),
    TextParser(),
    EmlParser(),
)
for _parser in BUILT_IN:
    PLUGINS.parsers.register(_parser)


def parser_for(media_type: str) -> Parser:
    """The parser of a media type; that of a plugin goes before a built-in one.

    Raises ParseError(type_mismatch) when there is none.
    """
    for parser in reversed(list(PLUGINS.parsers)):
        if media_type in parser.media_types:
            return parser
    raise ParseError("type_mismatch", f"There is no parser for {media_type}.")
