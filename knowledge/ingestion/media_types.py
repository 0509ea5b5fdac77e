"""What kind of file is this? Decided by content; the name only tells text formats apart. Free of Django."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from plugins.contracts import ParseError

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TEXT = "text/plain"
EML = "message/rfc822"

SUPPORTED: dict[str, tuple[str, ...]] = {
    PDF: (".pdf",),
    DOCX: (".docx",),
    PPTX: (".pptx",),
    XLSX: (".xlsx",),
    HTML: (".html", ".htm", ".xhtml"),
    MARKDOWN: (".md", ".markdown"),
    CSV: (".csv", ".tsv"),
    TEXT: (".txt", ".text", ".log"),
    EML: (".eml",),
}
BY_EXTENSION = {extension: media_type for media_type, names in SUPPORTED.items() for extension in names}
OFFICE_PARTS = {"word/": DOCX, "ppt/": PPTX, "xl/": XLSX}
HEAD_BYTES = 65_536
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
HTML_START = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
MAIL_HEADER = re.compile(rb"^(?:from|to|subject|date|received|return-path|message-id|mime-version|delivered-to):", re.I)


class UnsupportedType(Exception):
    """No parser is registered for this kind of file. The text lists those that there are."""

    def __init__(self, found: str) -> None:
        listed = ", ".join(sorted({names[0] for names in SUPPORTED.values()}))
        super().__init__(f"Files of this type ({found}) cannot be read. Supported: {listed}.")


def detect(path: Path, filename: str) -> str:
    """The media type of a file.

    Raises UnsupportedType for kinds without a parser, ParseError(encrypted | empty | damaged) for files that are of a
    supported kind by their name and cannot be read as such.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    extension = PurePosixPath(filename.lower().replace("\\", "/")).suffix
    if not head:
        raise ParseError("empty", "The file is empty.")
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(OLE):
        return _ole(extension)
    if head.startswith(b"PK\x03\x04") or BY_EXTENSION.get(extension) in OFFICE_PARTS.values():
        return _zip(path, extension)
    if extension == ".pdf":
        return _not_pdf(head)
    if _is_text(head):
        return _text(head, extension)
    if extension in BY_EXTENSION and BY_EXTENSION[extension] in {TEXT, CSV, MARKDOWN, HTML, EML}:
        return BY_EXTENSION[extension]
    raise UnsupportedType(extension or "unknown binary")


def _ole(extension: str) -> str:
    if BY_EXTENSION.get(extension) in OFFICE_PARTS.values():
        raise ParseError("encrypted", "The file is protected with a password. Save it without one and upload it again.")
    raise UnsupportedType(extension or "Microsoft Office before 2007")


def _not_pdf(head: bytes) -> str:
    """A name that says PDF over something else: text is read as what it is, the rest is a damaged PDF."""
    if HTML_START.match(head):
        return HTML
    return PDF


def _zip(path: Path, extension: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        if BY_EXTENSION.get(extension) in OFFICE_PARTS.values():
            return BY_EXTENSION[extension]
        raise UnsupportedType(extension or "zip") from None
    for prefix, media_type in OFFICE_PARTS.items():
        if any(name.startswith(prefix) for name in names):
            return media_type
    raise UnsupportedType(extension or "zip")


def _is_text(head: bytes) -> bool:
    """No control bytes but white space, or a byte order mark of UTF-16."""
    if head.startswith(BOMS):
        return True
    control = sum(byte < 9 or 13 < byte < 32 for byte in head if byte != 27)
    return control == 0 or control / len(head) < 0.001


def _text(head: bytes, extension: str) -> str:
    if extension in BY_EXTENSION and BY_EXTENSION[extension] in {TEXT, CSV, MARKDOWN, EML}:
        return BY_EXTENSION[extension]
    if BY_EXTENSION.get(extension) == HTML or HTML_START.match(head.lstrip(b"\xef\xbb\xbf")):
        return HTML
    if extension:
        raise UnsupportedType(extension)
    lines = head.splitlines()[:5]
    if len(lines) > 1 and all(MAIL_HEADER.match(line) or line[:1] in b" \t" for line in lines[:2]):
        return EML
    return TEXT
