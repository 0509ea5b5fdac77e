"""What kind of file is this? Decided by content; the name only tells text formats apart. Free of Django.

Reads the head of a file and the directory of a zip, and parses nothing: safe outside the parser child.
"""

import re
import zipfile
from pathlib import Path, PurePosixPath

from knowledge.ingestion.encodings import encoding_of_marks
from plugins.contracts import ParseError
from plugins.registry import PLUGINS

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
WRITTEN_AS_TEXT = frozenset({TEXT, CSV, MARKDOWN, HTML, EML})
HEAD_BYTES = 65_536
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
OLE_BYTES = 110 << 20
ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
OTHER_KINDS = {
    b"\x89PNG\r\n\x1a\n": "PNG image",
    b"\xff\xd8\xff": "JPEG image",
    b"GIF8": "GIF image",
    b"II*\x00": "TIFF image",
    b"MM\x00*": "TIFF image",
    b"{\\rtf": "RTF",
    b"%!PS": "PostScript",
    b"7z\xbc\xaf\x27\x1c": "7z archive",
    b"Rar!\x1a\x07": "RAR archive",
    b"\x1f\x8b": "gzip archive",
    b"\xfd7zXZ\x00": "xz archive",
    b"\x7fELF": "program",
    b"SQLite format 3\x00": "SQLite database",
}
HTML_START = re.compile(r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
MAIL_HEADER = re.compile(r"([!-9;-~]+):[ \t]?.*(?:\r?\n[ \t].*)*(?:\r?\n|\Z)")
MAIL_NAMES = frozenset(
    ["from", "to", "subject", "date", "received", "return-path", "message-id", "mime-version", "delivered-to"]
)


class UnsupportedType(Exception):
    """No parser is registered for this kind of file. The text lists those that there are."""

    def __init__(self, found: str) -> None:
        self.supported = supported()
        listed = ", ".join(sorted(extensions[0] for _, extensions in self.supported))
        super().__init__(f"Files of this type ({found}) cannot be read. Supported: {listed}.")


def supported() -> list[tuple[str, tuple[str, ...]]]:
    """(media type, extensions) of everything that can be read, that of plugins included."""
    return [*SUPPORTED.items(), *_of_plugins().items()]


def is_supported(media_type: str) -> bool:
    """Whether a parser, built in or a plugin's, reads files of this type."""
    return media_type in SUPPORTED or media_type in _of_plugins()


def detect(path: Path, filename: str) -> str:
    """The media type of a file.

    Raises UnsupportedType for kinds without a parser, ParseError(encrypted | empty) for files that are of a supported
    kind and cannot be read. Damaged files get the type of their name: their parser says what is wrong.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    extension = PurePosixPath(filename.lower().replace("\\", "/")).suffix
    if not head:
        raise ParseError("empty", "The file is empty.")
    for media_type, extensions in _of_plugins().items():
        if extension in extensions:
            return media_type
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith(OLE):
        return _ole(path, extension)
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, head, extension)
    for magic, kind in OTHER_KINDS.items():
        if head.startswith(magic):
            raise UnsupportedType(kind)
    text = _as_text(head)
    return _text(text, extension) if text is not None else _binary(extension)


def _of_plugins() -> dict[str, tuple[str, ...]]:
    return {
        media_type: parser.extensions
        for parser in PLUGINS.parsers
        for media_type in parser.media_types
        if media_type not in SUPPORTED and parser.extensions
    }


def _ole(path: Path, extension: str) -> str:
    """The container of old Office formats, and of new ones that are encrypted: their names stand in its directory."""
    with path.open("rb") as file:
        encrypted = ENCRYPTED_PACKAGE in file.read(OLE_BYTES)
    if encrypted:
        raise ParseError("encrypted", "The file is protected with a password. Save it without one and upload it again.")
    raise UnsupportedType(extension if extension not in BY_EXTENSION else "Microsoft Office before 2007")


def _zip(path: Path, head: bytes, extension: str) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return _cut_zip(head, extension)
    for prefix, media_type in OFFICE_PARTS.items():
        if any(name.startswith(prefix) for name in names):
            return media_type
    raise UnsupportedType(extension if extension and extension not in BY_EXTENSION else "zip archive")


def _cut_zip(head: bytes, extension: str) -> str:
    named = BY_EXTENSION.get(extension)
    if named in OFFICE_PARTS.values():
        return str(named)
    for prefix, media_type in OFFICE_PARTS.items():
        if prefix.encode() in head:
            return media_type
    raise UnsupportedType(extension or "zip archive")


def _as_text(head: bytes) -> str | None:
    """The head as text, or None when control bytes say that it is none."""
    encoding = encoding_of_marks(head)
    if encoding:
        return head.decode(encoding, "replace")
    control = sum(byte < 9 or 13 < byte < 32 for byte in head if byte != 27)
    return head.decode("utf-8", "replace") if control / len(head) < 0.001 else None


def _binary(extension: str) -> str:
    """Binary data of unknown kind: what its name says is a damaged file, for its parser to tell."""
    if extension in BY_EXTENSION:
        return BY_EXTENSION[extension]
    raise UnsupportedType(extension or "unknown binary")


def _text(text: str, extension: str) -> str:
    named = BY_EXTENSION.get(extension)
    if named in WRITTEN_AS_TEXT:
        return str(named)
    if HTML_START.match(text.removeprefix("\ufeff")):
        return HTML
    if named == PDF and "endobj" in text:
        return PDF
    if extension and named is None:
        raise UnsupportedType(extension)
    return EML if _is_mail(text) else TEXT


def _is_mail(text: str) -> bool:
    """Whether the text begins with headers, at least two of them such as mails have."""
    names: set[str] = set()
    position = 0
    while len(names & MAIL_NAMES) < 2 and (header := MAIL_HEADER.match(text, position)) is not None:
        names.add(header[1].lower())
        position = header.end()
    return len(names & MAIL_NAMES) >= 2
