"""From bytes to text: byte order marks, then UTF-8, then what was declared, then what the bytes look like."""

import codecs

from plugins.contracts import ParseError

MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 200_000
HALF_ZERO = 0.7  # of every other byte: UTF-16 of a Latin script, without a mark
MAX_CONTROLS = 0.02  # of all characters; text has none


def encoding_of_marks(data: bytes) -> str:
    """The encoding that a byte order mark names, or that UTF-16 gives away by its zero bytes; else empty."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:4096]
    even, odd = sample[::2], sample[1::2]
    if len(odd) >= 4:
        if odd.count(0) > HALF_ZERO * len(odd) and not even.count(0):
            return "utf-16-le"
        if even.count(0) > HALF_ZERO * len(even) and not odd.count(0):
            return "utf-16-be"
    return ""


def decode(data: bytes, declared: str = "") -> str:
    """The text of some bytes, line ends as they are.

    Raises ParseError(no_text) when there is only white space, ParseError(type_mismatch) for binary data.
    """
    encoding = encoding_of_marks(data)
    text = data.decode(encoding, "replace") if encoding else _decode_unmarked(data, declared)
    if not text.strip("\x00 \t\r\n\f\ufeff"):
        raise ParseError("no_text", "The file holds no text.")
    sample = text[:SAMPLE]
    controls = sum(char < " " and char not in "\t\n\v\f\r\x1b" for char in sample)
    if controls > MAX_CONTROLS * len(sample):
        raise ParseError("type_mismatch", "The name says that the file is text, but it holds binary data.")
    return text


def _decode_unmarked(data: bytes, declared: str) -> str:
    for encoding in ("utf-8", declared):
        try:
            if encoding:
                return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue  # wrongly declared, or unknown
    if _is_nearly_utf8(data[:SAMPLE]):
        return data.decode("utf-8", "replace")
    from charset_normalizer import from_bytes

    best = from_bytes(data[:SAMPLE]).best()
    return data.decode(best.encoding if best is not None else "cp1252", "replace")


def _is_nearly_utf8(sample: bytes) -> bool:
    """UTF-8 with a few broken bytes, as cut files and pasted mails have, is still UTF-8."""
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    return sum(char > "\x7f" for char in text) - broken > 4 * broken
