"""Secrets at rest: AES-256-GCM under a ring of keys, each ciphertext bound to its table, row and column.

The ring comes from settings.ENCRYPTION_KEYS, a list of `id:base64 of 32 bytes`. The first key encrypts, all of them
decrypt, so a key is changed by putting the new one first, re-encrypting, and dropping the old one.
"""

import base64
import binascii
import functools
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from core.exceptions import MagnetError

ENVELOPE_PREFIX = "enc1:"
KEY_BYTES = 32
NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: random nonces of 96 bits

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class DecryptionFailed(MagnetError):
    """A stored secret cannot be read with the keys at hand, or was moved from another place."""

    code = "decryption_failed"
    title = "Secret unreadable"


@dataclass(frozen=True)
class SecretLocation:
    """Where a secret is stored. A ciphertext opens at its own location only."""

    table: str
    row: str
    column: str

    def associated_data(self, key_id: str) -> bytes:
        """Bytes that GCM authenticates; lengths in front, so that no two locations give the same."""
        parts = (ENVELOPE_PREFIX, key_id, self.table, self.row, self.column)
        return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


@dataclass(frozen=True)
class KeyRing:
    """Keys by id; the first one encrypts."""

    keys: dict[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, items: Sequence[str]) -> Self:
        """Read `id:base64` items. Raises ValueError with a sentence that names the setting and never the key."""
        keys: dict[str, bytes] = {}
        for number, item in enumerate(items, start=1):
            key_id, _, encoded = item.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise ValueError(f"ENCRYPTION_KEYS: item {number} is not id:base64 of {KEY_BYTES} bytes.")
            if key_id in keys:
                raise ValueError(f"ENCRYPTION_KEYS: the id {key_id} stands there twice.")
            keys[key_id] = key
        if not keys:
            raise ValueError("ENCRYPTION_KEYS: there must be at least one key.")
        return cls(keys)

    @property
    def current_id(self) -> str:
        return next(iter(self.keys))

    def encrypt(self, plaintext: str, location: SecretLocation) -> str:
        """An envelope `enc1:<key id>:<base64 of nonce and ciphertext>`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current_id]).encrypt(
            nonce, plaintext.encode(), location.associated_data(self.current_id)
        )
        return f"{ENVELOPE_PREFIX}{self.current_id}:{base64.b64encode(nonce + sealed).decode()}"

    def decrypt(self, envelope: str, location: SecretLocation) -> str:
        """The text behind an envelope. Raises DecryptionFailed."""
        key_id, _, encoded = envelope.removeprefix(ENVELOPE_PREFIX).partition(":")
        key = self.keys.get(key_id)
        if key is None:
            raise DecryptionFailed(
                "This secret was encrypted with a key that is not there.",
                hint=f"Put the key {key_id} back into ENCRYPTION_KEYS, or enter the secret again.",
            )
        try:
            sealed = base64.b64decode(encoded, validate=True)
            plaintext = AESGCM(key).decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], location.associated_data(key_id)
            )
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed(
                "This secret does not open: it was changed, moved here, or its key is another one.",
                hint=f"Check the key {key_id} in ENCRYPTION_KEYS, or enter the secret again.",
            ) from error
        return plaintext.decode()

    def is_current(self, envelope: str) -> bool:
        """False for an envelope that an older key made."""
        return envelope.startswith(f"{ENVELOPE_PREFIX}{self.current_id}:")


def new_key() -> str:
    """A fresh item for ENCRYPTION_KEYS."""
    return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


@functools.lru_cache(maxsize=8)
def _parsed(items: tuple[str, ...]) -> KeyRing:
    return KeyRing.parse(items)


def key_ring() -> KeyRing:
    """The ring of the settings as they are now."""
    return _parsed(tuple(settings.ENCRYPTION_KEYS))
