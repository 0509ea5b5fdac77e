"""The form of an API key, `mk_<id>_<secret>`: making one and taking one apart."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

PATTERN = re.compile(r"mk_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class KeyParts:
    """The public id names the row; the secret (256 random bits, base64url) proves possession."""

    public_id: str
    secret: str

    def __str__(self) -> str:
        return f"mk_{self.public_id}_{self.secret}"

    @property
    def secret_hash(self) -> str:
        """SHA-256 is enough for 256 random bits; a slow hash protects guessable secrets only."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def proves(self, stored_hash: str) -> bool:
        return hmac.compare_digest(self.secret_hash, stored_hash)


def new_key() -> KeyParts:
    return KeyParts("".join(secrets.choice(ALPHABET) for _ in range(12)), secrets.token_urlsafe(32))


def parse_key(text: str) -> KeyParts | None:
    """The parts of a well-formed key, else None."""
    match = PATTERN.fullmatch(text)
    return KeyParts(match[1], match[2]) if match else None
