"""Access tokens for a service account of Google Cloud (RFC 7523: a signed assertion is changed for a token)."""

import base64
import json
import time
from dataclasses import dataclass

import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from llm.providers.failures import status_failure
from plugins.contracts import ProviderFailure

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFETIME_SECONDS = 3600
SPARE_SECONDS = 120
NOT_A_KEY = "The second secret is no key file of a Google service account."


@dataclass
class ServiceAccount:
    """The account of a key file, with the token that it was given last."""

    email: str
    token_url: str
    key: rsa.RSAPrivateKey
    key_id: str = ""
    token: str = ""
    expires_at: float = 0.0

    @classmethod
    def read(cls, text: str) -> "ServiceAccount":
        """From the key file's JSON. Raises ProviderFailure, which repeats nothing of it."""
        try:
            found = json.loads(text)
            key = load_pem_private_key(found["private_key"].encode(), password=None)
            email, url, key_id = found["client_email"], found["token_uri"], found.get("private_key_id", "")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ProviderFailure("unauthorized", NOT_A_KEY) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ProviderFailure("unauthorized", NOT_A_KEY)
        return cls(email, url, key, key_id)

    async def bearer(self, client: httpx2.AsyncClient) -> str:
        """A token that holds for two minutes at least. Raises ProviderFailure, or the client's errors."""
        if self.expires_at - SPARE_SECONDS > time.time():
            return self.token
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        answer = await client.post(self.token_url, data={"grant_type": grant, "assertion": self._assertion()})
        if not answer.is_success:
            raise status_failure(answer.status_code, answer.content)
        try:
            given = answer.json()
            self.token, lifetime = str(given["access_token"]), float(given.get("expires_in", LIFETIME_SECONDS))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ProviderFailure("bad_response", "Google gave no access token.") from None
        self.expires_at = time.time() + lifetime
        return self.token

    def _assertion(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_url,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        }
        head = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        signed = f"{_packed(json.dumps(head).encode())}.{_packed(json.dumps(claims).encode())}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_packed(signature)}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
