"""What the three Office formats share: zip files of XML that may be bombs, locked or broken."""

import zipfile
from pathlib import Path

from plugins.contracts import ParseError

MAX_UNPACKED = 500 << 20
MAX_RATIO = 200
SMALL = 10 << 20


def check_container(path: Path) -> None:
    """Look at the directory of the zip before a library unpacks it.

    Raises ParseError: damaged, encrypted, or too_large for a file that unpacks to far more than it should.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise ParseError("damaged", "The file is damaged: its container cannot be opened.") from error
    if any(entry.flag_bits & 1 for entry in entries):
        raise ParseError("encrypted", "The file is protected with a password. Save it without one and upload it again.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED or (unpacked > SMALL and unpacked > MAX_RATIO * path.stat().st_size):
        raise ParseError("too_large", f"The file unpacks to {unpacked >> 20} MB, more than is allowed.")
