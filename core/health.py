"""Whether this process lives, and whether the platform can serve: `/health/live`, `/health/ready`.

A part that only some requests need (a model provider) never makes the platform unready.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import cache
from django.core.files.temp import NamedTemporaryFile
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from redis.exceptions import RedisError

from core import lifecycle
from core.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartFailure(Exception):
    """Why a part is not ready, in words that tell strangers nothing."""

    reason: str


ReadyCheck = Callable[[], None]
READY_CHECKS: Registry[ReadyCheck] = Registry("readiness check")

_migrated = False


def waiting_migrations() -> int:
    """How many migrations the database of the settings still lacks. Raises DatabaseError."""
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def migrations_refusal() -> str:
    """Why production does not start on this database, in one line; "" when it may."""
    waiting = waiting_migrations()
    return f"DATABASE_URL: {waiting} migrations are not applied; back up, run manage.py migrate." if waiting else ""


def _database() -> None:
    global _migrated  # noqa: PLW0603 - once migrated, a process stays so; asking costs a scan of all migrations
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            if waiting_migrations():
                raise PartFailure("migrations are not applied")
            _migrated = True
    except DatabaseError as error:
        raise PartFailure("does not answer") from error
    finally:
        connection.close()


def _broker() -> None:
    try:
        cache.get("ready")
    except RedisError as error:
        raise PartFailure("does not answer") from error


def _storage() -> None:
    try:
        with NamedTemporaryFile(dir=settings.STORAGE_DIR):
            pass
    except OSError as error:
        raise PartFailure("cannot be written") from error


READY_CHECKS.register("database", _database)
READY_CHECKS.register("broker", _broker)
READY_CHECKS.register("storage", _storage)


async def live(_request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers at all."""
    return JsonResponse({"status": "live"})


async def ready(_request: HttpRequest) -> JsonResponse:
    """200 when every part that serving needs is there, else 503 with the parts that are not."""
    if lifecycle.stopping():
        return JsonResponse({"status": "stopping", "parts": {}}, status=503)
    parts = await sync_to_async(check_parts)()
    failed = any(state != "ok" for state in parts.values())
    return JsonResponse({"status": "unready" if failed else "ready", "parts": parts}, status=503 if failed else 200)


def check_parts() -> dict[str, str]:
    """`ok` or a reason, by part."""
    parts = {}
    for name, check in READY_CHECKS.items():
        try:
            check()
            parts[name] = "ok"
        except PartFailure as failure:
            parts[name] = failure.reason
            logger.warning("health.unready", extra={"part": name, "reason": failure.reason})
    return parts
