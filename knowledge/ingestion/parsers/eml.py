"""Mail: subject, people and date, then the text; attachments by name."""

from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.ingestion.encodings import decode
from knowledge.ingestion.media_types import EML, SUPPORTED
from knowledge.ingestion.parsers.html import parse_html
from knowledge.ingestion.parsers.text import paragraphs
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

if TYPE_CHECKING:
    from email.message import EmailMessage

HEADERS = ("From", "To", "Cc", "Date", "Subject")
SMIME = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
PGP = "-----BEGIN PGP MESSAGE-----"


class EmlParser:
    """The plain text part where there is one, else the HTML part."""

    name = "eml"
    version = 1
    media_types: tuple[str, ...] = (EML,)
    extensions: tuple[str, ...] = SUPPORTED[EML]

    def parse(self, path: Path) -> ParsedDocument:
        import email
        import email.policy
        from email.message import EmailMessage

        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        _refuse_encrypted(message)
        headers = {name: value for name in HEADERS if (value := _header(message, name))}
        body = _body(message)
        if not headers and not body:
            raise ParseError("no_text", "The file holds no mail.")
        if body and body[0].text.lstrip().startswith(PGP):
            raise ParseError("encrypted", "The mail is encrypted with PGP. Save it decrypted and upload it again.")
        attachments = [name for part in message.walk() if (name := _filename(part))]
        blocks = [*_head(headers), *body]
        if attachments:
            blocks.append(Block(BlockKind.PARAGRAPH, f"Attachments: {', '.join(attachments)}"))
        metadata = {name.lower(): value for name, value in headers.items()}
        return ParsedDocument(tuple(blocks), headers.get("Subject", ""), metadata)


def _refuse_encrypted(message: "EmailMessage") -> None:
    for part in message.walk():
        kind = part.get_content_type()
        signed = kind in SMIME and str(part.get_param("smime-type")).lower() == "signed-data"
        if signed:
            raise ParseError(
                "no_text", "The mail is signed so that its text is inside the signature. Save it unsigned."
            )
        if kind == "multipart/encrypted" or kind in SMIME:
            raise ParseError("encrypted", "The mail is encrypted. Save it decrypted and upload it again.")


def _header(message: "EmailMessage", name: str) -> str:
    """A header as text. Broken encodings are common and no reason to give up."""
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, LookupError, IndexError, AttributeError, TypeError):
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _head(headers: dict[str, str]) -> list[Block]:
    lines = [f"{name}: {value}" for name, value in headers.items() if name != "Subject"]
    blocks = [Block(BlockKind.HEADING, headers["Subject"], level=1)] if "Subject" in headers else []
    return [*blocks, Block(BlockKind.PARAGRAPH, "\n".join(lines))] if lines else blocks


def _body(message: "EmailMessage") -> list[Block]:
    for wanted in ("plain", "html"):
        blocks = [block for part in message.walk() for block in _part(part, wanted)]
        if blocks:
            return blocks
    return []


def _part(part: "EmailMessage", wanted: str) -> list[Block]:  # type: ignore[type-arg,unused-ignore]
    if part.get_content_type() != f"text/{wanted}" or _filename(part):
        return []
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return []
    text = decode(data, str(part.get_content_charset("") or ""))
    return list(parse_html(text).blocks) if wanted == "html" else paragraphs(text.replace("\r\n", "\n"))


def _filename(part: "EmailMessage") -> str:  # type: ignore[type-arg,unused-ignore]
    try:
        return part.get_filename() or ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return "unnamed"
