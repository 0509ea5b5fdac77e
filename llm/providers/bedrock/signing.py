"""AWS Signature Version 4, as its documentation describes it (AWS General Reference, "Signing AWS API requests")."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, unquote, urlsplit


@dataclass(frozen=True)
class Signer:
    """Who signs, and for what. service: as the signature names it."""

    access_key_id: str
    secret_key: str = field(repr=False)
    region: str
    service: str

    def headers(
        self, method: str, url: str, body: bytes, at: datetime, *, also: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Headers that sign this request. at: UTC. also: further headers that are signed, such as a session's token."""
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        parts = urlsplit(url)
        given = {"host": parts.netloc, "x-amz-date": stamp, **{k.lower(): v for k, v in (also or {}).items()}}
        signed = ";".join(sorted(given))
        request = "\n".join(
            [
                method,
                # What is encoded already is encoded again; S3 alone does it once.
                quote(parts.path or "/", safe="/-_.~"),
                _query(parts.query),
                *(f"{name}:{given[name].strip()}" for name in sorted(given)),
                "",
                signed,
                hashlib.sha256(body).hexdigest(),
            ]
        )
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = _mac(self._key(stamp[:8]), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}").hex()
        credential = f"Credential={self.access_key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        return {"X-Amz-Date": stamp, "Authorization": f"AWS4-HMAC-SHA256 {credential}", **(also or {})}

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.secret_key}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = _mac(key, part)
        return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _query(query: str) -> str:
    pairs = [one.partition("=") for one in query.split("&") if one]
    encoded = [(quote(unquote(k), safe="-_.~"), quote(unquote(v), safe="-_.~")) for k, _, v in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))
