"""Contents that are kept lose what looks like a secret, and what is too long.

A pattern finds what has the form of a credential; a password in plain words it cannot know. So contents are kept at the
level full alone, and this is the second line.
"""

import re
from typing import Any

MAX_CHARACTERS = 32_000
SCRUBBED = "[secret]"
SECRETS = re.compile(
    r"""
    -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)   # PEM
    | \b(?:sk|pk|rk|gsk|xai|pplx|r8|hf)[-_][A-Za-z0-9_-]{16,}                               # model vendors, Stripe
    | \bmk_[A-Za-z0-9]+_[A-Za-z0-9_-]{16,}                                                  # our own keys
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                                                         # AWS
    | \bAIza[0-9A-Za-z_-]{30,}                                                              # Google
    | \bgh[pousr]_[A-Za-z0-9]{30,} | \bgithub_pat_[A-Za-z0-9_]{30,} | \bglpat-[A-Za-z0-9_-]{16,}
    | \bxox[abeoprs]-[A-Za-z0-9-]{10,}                                                      # Slack
    | \beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}                          # JWT
    | (?<=bearer[ ])[A-Za-z0-9._~+/=-]{12,} | (?<=basic[ ])[A-Za-z0-9+/=]{12,}              # Authorization
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)                                                       # user and password in a URL
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
NAMED = re.compile(
    r"""((?:password|passwd|secret|api[_-]?key|access[_-]?token|client[_-]?secret)["']?\s*[:=]\s*["']?)([^\s"',;]{4,})""",
    re.IGNORECASE,
)


def scrubbed(value: Any) -> Any:
    """The value with every text in it scrubbed and cut to MAX_CHARACTERS."""
    if isinstance(value, str):
        return scrubbed_text(value)
    if isinstance(value, dict):
        return {key: scrubbed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(one) for one in value]
    return value


def scrubbed_text(text: str) -> str:
    """The text without what looks like a secret. Cut behind the scrubbing, so that no half of one is left."""
    found = NAMED.sub(rf"\1{SCRUBBED}", SECRETS.sub(SCRUBBED, text))
    return found if len(found) <= MAX_CHARACTERS else f"{found[:MAX_CHARACTERS]}…"
