"""Files of documents: below STORAGE_DIR, under random names that tell nothing and lead nowhere else."""

import hashlib
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from core.exceptions import InvalidInput, PayloadTooLarge, ServiceUnavailable
from core.faults import fault

BLOCK = 1 << 20


class StorageUnavailable(ServiceUnavailable):
    """Files cannot be written now: the folder is away, or the disk is full."""

    code = "storage_unavailable"


@dataclass(frozen=True)
class StoredFile:
    """A file that has been written. key: relative to the store; checksum: SHA-256, hexadecimal."""

    key: str
    size: int
    checksum: str

    @property
    def path(self) -> Path:
        return path_of(self.key)


def path_of(key: str) -> Path:
    """The file behind a key that this module made."""
    return Path(settings.STORAGE_DIR) / "documents" / key


def store(blocks: Iterator[bytes]) -> StoredFile:
    """Write a new file. Raises PayloadTooLarge over the cap, InvalidInput when empty, StorageUnavailable when it
    cannot be written; nothing is left then."""
    try:
        return _store(blocks)
    except OSError as error:
        raise StorageUnavailable("The file store cannot be written.", hint="Try again soon.") from error


def _store(blocks: Iterator[bytes]) -> StoredFile:
    name = uuid.uuid4().hex
    key = f"{name[:2]}/{name}"
    path = path_of(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with ExitStack() as unless_stored:
        unless_stored.callback(path.unlink, missing_ok=True)
        with path.open("xb") as target:
            for block in blocks:
                size += len(block)
                if size > settings.MAX_DOCUMENT_BYTES:
                    limit = settings.MAX_DOCUMENT_BYTES // (1 << 20)
                    raise PayloadTooLarge(f"The file is larger than {limit} MB.")
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if size == 0:
            raise InvalidInput("The file is empty.")
        unless_stored.pop_all()
    return StoredFile(key, size, digest.hexdigest())


def blocks_of(file: BinaryIO) -> Iterator[bytes]:
    """The content of an open file, a block at a time."""
    while block := file.read(BLOCK):
        yield block


def checksum(blocks: Iterator[bytes]) -> str:
    """SHA-256 of the content, hexadecimal, as `store` gives it."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def remove(key: str) -> None:
    """Delete a file; one that is gone already is fine."""
    fault("file.before_removal")
    path_of(key).unlink(missing_ok=True)


def remove_all(keys: Iterable[str]) -> None:
    """Delete several files."""
    for key in keys:
        remove(key)
