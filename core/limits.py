"""How much a caller may ask for in a minute, counted in Valkey, or in PostgreSQL while Valkey is away.

A window begins with the first request and lasts a minute; so at most twice the limit fits into any 60 seconds. When the
counting moves from one place to the other it begins anew there: never without a limit, at most with a second one.
"""

import logging
import math
import time
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings
from django.db import connection

from core.exceptions import MagnetError
from core.valkey import sync_client

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
# A Valkey that does not answer is not asked again for so long: each try may cost its timeout.
AWAY_SECONDS = 5.0

COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
"""
COUNT_IN_DATABASE = """
INSERT INTO core_requestcount AS kept (key, count, ends_at)
VALUES (%(key)s, 1, clock_timestamp() + %(window)s::interval)
ON CONFLICT (key) DO UPDATE SET
  count = CASE WHEN kept.ends_at <= clock_timestamp() THEN 1 ELSE kept.count + 1 END,
  ends_at = CASE WHEN kept.ends_at <= clock_timestamp() THEN excluded.ends_at ELSE kept.ends_at END
RETURNING count, extract(epoch FROM ends_at - clock_timestamp())
"""


class Rate(StrEnum):
    """Kinds of requests; `settings.RATES` says how many of each a caller has in a minute."""

    READS = "reads"
    WRITES = "writes"
    RUNS = "runs"


class RateExceeded(MagnetError):
    """The caller asked for more than its minute holds."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"


@dataclass(frozen=True)
class Standing:
    """A caller's window: what it holds, what is left of it, and in how many seconds it ends."""

    rate: Rate
    limit: int
    used: int
    seconds: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers-10 has them, and as earlier drafts did, which clients read."""
        return {
            "RateLimit-Policy": f'"{self.rate}";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.rate}";r={self.remaining};t={self.seconds}',
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.seconds),
        }

    def require(self) -> None:
        """Raise RateExceeded when this request was one too many."""
        if self.used > self.limit:
            raise RateExceeded(
                f"You have sent more than {self.limit:,} {self.rate} in a minute.",
                hint=f"Wait {self.seconds} s.",
                retry_after=self.seconds,
            )


class _Away:
    """Until when Valkey is left alone, by this process's clock."""

    until = 0.0


def count_request(identity: str, rate: Rate) -> Standing:
    """Count one request of this caller."""
    key = f"rate:{rate}:{identity}"
    count, seconds = _in_valkey(key) or _in_database(key)
    return Standing(rate, settings.RATES[rate], count, max(1, math.ceil(seconds)))


def _in_valkey(key: str) -> tuple[int, float] | None:
    """The count and the rest of its window; None while Valkey is away."""
    from redis.exceptions import RedisError

    if time.monotonic() < _Away.until:
        return None
    try:
        count, milliseconds = sync_client().eval(COUNT, 1, f"magnet:{key}", WINDOW_SECONDS * 1000)
    except RedisError:
        logger.warning("rates.valkey_away")
        _Away.until = time.monotonic() + AWAY_SECONDS
        return None
    return int(count), milliseconds / 1000


def _in_database(key: str) -> tuple[int, float]:
    with connection.cursor() as cursor:
        cursor.execute(COUNT_IN_DATABASE, {"key": key, "window": f"{WINDOW_SECONDS} seconds"})
        count, seconds = cursor.fetchone()
    return int(count), float(seconds)
