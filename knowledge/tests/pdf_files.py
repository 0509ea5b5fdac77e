"""PDFs written by hand, as small as they can be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    """A line on a page: its text, the place of its first character in points, and its type.

    upwards: it runs from the bottom to the top, as on a page that was scanned or printed sideways.
    """

    text: str
    x: float = 72
    y: float = 700
    size: float = 10
    bold: bool = False
    upwards: bool = False


def pdf(*pages: list[Shown], title: str = "", picture: bool = False, encrypt: bytes = b"") -> bytes:
    """A PDF of Helvetica lines. picture: a pixel on every page. encrypt: the body of an encryption dictionary."""
    numbers = range(len(pages))
    kids = b" ".join(b"%d 0 R" % (10 + 2 * number) for number in numbers)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        4: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        5: _stream(
            b"\x00", b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /ColorSpace /DeviceGray /BitsPerComponent 8"
        ),
        6: b"<< /Title (%s) >>" % title.encode("cp1252"),
    }
    for number, lines in zip(numbers, pages, strict=True):
        content = b"".join(_shown(line) for line in lines) + (b"q 9 0 0 9 9 9 cm /Im Do Q" if picture else b"")
        objects[10 + 2 * number] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R /B 4 0 R >> /XObject << /Im 5 0 R >> >> >>" % (11 + 2 * number)
        )
        objects[11 + 2 * number] = _stream(content)
    return _file(objects, encrypt)


def _stream(data: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def _shown(line: Shown) -> bytes:
    text = line.text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    place = f"{'0 1 -1 0' if line.upwards else '1 0 0 1'} {line.x} {line.y} Tm".encode()
    return b"BT /%s %d Tf %s (%s) Tj ET\n" % (b"B" if line.bold else b"F", line.size, place, text)


def _file(objects: dict[int, bytes], encrypt: bytes) -> bytes:
    body, places = b"%PDF-1.4\n", {}
    for number, content in objects.items():
        places[number] = len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%d 1\n%010d 00000 n \n" % entry for entry in places.items())
    guard = b"/Encrypt << %s >> /ID [<00><00>]" % encrypt if encrypt else b""
    trailer = b"trailer << /Size %d /Root 1 0 R /Info 6 0 R %s >>" % (max(objects) + 1, guard)
    return b"%sxref\n0 1\n0000000000 65535 f \n%s%s\nstartxref\n%d\n%%%%EOF\n" % (body, table, trailer, len(body))
