"""A vendor's refusal as a ProviderFailure, with what it said and without what must not be said again."""

import base64
import email.utils
import json
import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from plugins.contracts import ProviderFailure

LONGEST_MESSAGE = 500
REDACTED = "[removed]"
_SHORTEST_SECRET = 4
# What looks like a credential, whoever's it is: vendors also echo keys that they have shortened themselves.
_CREDENTIALS = re.compile(
    r"(?i)\bbearer\s+\S+"
    r"|\b(?:sk|pk|rk|xai|gsk|hf|key|org|proj|AIza|AKIA|ASIA|mk)[-_][\w*.\-]{3,}"
    r"|\b(?:AIza|AKIA|ASIA)[\w\-]{8,}"
    r"|\beyJ[\w\-]+\.[\w\-]+\.[\w\-]*"
    r"|[\w+/=\-]{40,}"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_PLACES = (("error", "message"), ("message",), ("error",), ("detail",), ("Message",), ("errors",), ("msg",))


def status_failure(
    status: int, body: Any, *, secrets: Iterable[str] = (), retry_after: str | None = None
) -> ProviderFailure:
    """The failure of an answer with this HTTP status. body: as parsed, or as text. secrets: of the endpoint.

    retry_after: the header.
    """
    kind, message = _kind(status)
    said = scrubbed(vendor_text(body), secrets)
    return ProviderFailure(kind, message, retry_after=_seconds(retry_after), status=status, vendor_message=said)


def _kind(status: int) -> tuple[str, str]:
    if status in {401, 403}:
        return "unauthorized", f"The model provider refuses the API key (HTTP {status})."
    if status == 429:
        return "rate_limited", "The model provider limits the rate (HTTP 429)."
    if status in {502, 503, 504, 529}:
        return "overloaded", f"The model provider is overloaded (HTTP {status})."
    if status >= 500:
        return "server", f"The model provider failed (HTTP {status})."
    return "bad_request", f"The model provider refuses the request (HTTP {status})."


def _seconds(retry_after: str | None) -> float | None:
    """Of either form of the header (RFC 9110, 10.2.3): seconds, or a date. One that has passed is no wait."""
    if not retry_after:
        return None
    if retry_after.replace(".", "", 1).isdecimal():
        return float(retry_after)
    try:
        until = email.utils.parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - time.time())


def vendor_text(body: Any) -> str:
    """The sentence in a vendor's error; empty where there is none, as in a proxy's page."""
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return "" if body.lstrip().startswith("<") else body
    if isinstance(body, list) and body:  # Google's streams fail with a list
        body = body[0]
    for place in _PLACES:
        found: Any = body
        for name in place:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str) and found:
            return found
    return "" if body in (None, {}, []) else json.dumps(body)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text on one line, without these secrets in any of their usual spellings and without anything that looks
    like a credential."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for spelling in _spellings(secret):
            text = text.replace(spelling, REDACTED)
    text = _CREDENTIALS.sub(REDACTED, _CONTROL.sub(" ", text)).strip()
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"


def _spellings(secret: str) -> list[str]:
    """As it is, as URLs, JSON and Basic authentication write it, and its two halves."""
    if len(secret) < _SHORTEST_SECRET:
        return []
    encoded = base64.b64encode(secret.encode()).decode()
    whole = [secret, quote(secret, safe=""), json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3]]
    lines = [line.strip() for line in secret.splitlines() if len(line.strip()) >= 16]
    half = len(secret) // 2
    return [*whole, encoded, encoded.rstrip("="), *lines, *((secret[:half], secret[half:]) if half >= 8 else ())]
