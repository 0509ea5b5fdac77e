"""What the three Office formats share: zip files of XML that may be bombs, locked or broken."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plugins.contracts import ParseError

MAX_UNPACKED = 500 << 20
MAX_RATIO = 200
SMALL = 10 << 20


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Check the container before a library unpacks it, and tell in words what went wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            if any(entry.flag_bits & 1 for entry in archive.infolist()):
                raise ParseError("encrypted", "The file is protected with a password.")
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ParseError("damaged", "The file is damaged: its container cannot be opened.") from error
    if unpacked > MAX_UNPACKED or (unpacked > SMALL and unpacked > MAX_RATIO * path.stat().st_size):
        raise ParseError("too_large", f"The file unpacks to {unpacked >> 20} MB, more than is allowed.")
    yield path
