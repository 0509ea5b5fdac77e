"""The ASGI application: Django behind a cap on bodies, a pool of connections, a shutdown that saves what runs."""

import asyncio
import os
import signal
from types import FrameType
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.signals import request_started
from django.db import close_old_connections, reset_queries

from core import lifecycle
from core.health import migrations_refusal
from magnet.body_limit import BodyLimit
from magnet.request_threads import request_thread

# For this process only: a pool's threads and sockets would not survive the forks of the worker.
# It gives up to connect sooner than a request gives up to wait; the next request tries anew. By its own measure it
# would double its pauses for five minutes, and so still refuse half a minute after the database is back.
POOL = {"min_size": 1, "max_size": 20, "timeout": 5, "max_idle": 60, "reconnect_timeout": 4}

_django = BodyLimit(get_asgi_application(), settings.MAX_BODY_BYTES)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Requests go to Django; the server's own start and stop are handled here."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        async with request_thread():
            await _django(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            refusal = await _start()
            if refusal:
                await send({"type": "lifespan.startup.failed", "message": refusal})
                return
            await send({"type": "lifespan.startup.complete"})
        else:
            await lifecycle.shut_down()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _start() -> str:
    """Prepare this process; answers why it must not serve, or ""."""
    settings.DATABASES["default"]["OPTIONS"]["pool"] = POOL
    # A request begins in a thread whose connection was given back when its last request ended.
    for receiver in (close_old_connections, reset_queries):
        request_started.disconnect(receiver)
    _stop_at_the_signal(asyncio.get_running_loop())
    return "" if settings.MIGRATE_AT_START else await sync_to_async(migrations_refusal)()


def _stop_at_the_signal(loop: asyncio.AbstractEventLoop) -> None:
    """uvicorn sends the shutdown event only after all open answers have ended, and a stream may not end by itself.

    So the runs are told at the signal: their streams close with an event, and uvicorn finds nothing left to wait for.
    """
    inherited = signal.getsignal(signal.SIGTERM)
    if not callable(inherited):
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(lifecycle.begin_shutdown)
        inherited(number, frame)

    signal.signal(signal.SIGTERM, on_signal)
