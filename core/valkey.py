"""Clients of Valkey (or Redis): one for threads, one for each event loop. What it holds may be lost at any time."""

import asyncio
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings

TIMEOUT_SECONDS = 2

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
