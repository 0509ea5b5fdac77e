"""Clients of Valkey (or Redis): one for threads, one for each event loop. What it holds may be lost at any time."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT_SECONDS = 2
# One that does not answer is not asked again for so long: each try may cost its timeout.
AWAY_SECONDS = 5.0

_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, Any]" = WeakKeyDictionary()


@lru_cache(maxsize=1)
def sync_client() -> Any:
    """The client of this process for synchronous code."""
    import redis

    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )


def async_client() -> Any:
    """The client of the running event loop."""
    import redis.asyncio

    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS + 2, socket_connect_timeout=TIMEOUT_SECONDS
        )
        _clients[loop] = client
    return client


class ValkeyAway(Exception):
    """Valkey does not answer, or did not a moment ago."""


class _Away:
    """Until when Valkey is left alone, by this process's clock."""

    until = 0.0


async def ask(command: Callable[[Any], Awaitable[T]]) -> T:
    """The answer to a command, given to the client of the running loop. Raises ValkeyAway within two seconds."""
    from redis.exceptions import RedisError

    if time.monotonic() < _Away.until:
        raise ValkeyAway
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await command(async_client())
    except (RedisError, OSError, TimeoutError):
        _Away.until = time.monotonic() + AWAY_SECONDS
        logger.warning("valkey.away")
        raise ValkeyAway from None
