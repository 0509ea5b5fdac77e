"""What `manage.py doctor` asks. Apps register their questions; each answers with findings."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection

from core.crypto import key_ring
from core.health import waiting_migrations
from core.registry import Registry

POSTGRES_AT_LEAST = 160000
PGVECTOR_AT_LEAST = (0, 8, 4)  # before: HNSW indexes could be corrupted by vacuum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One answer: what was looked at, how it is, and which setting or step mends it."""

    subject: str
    level: Level
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


DoctorCheck = Callable[[], Iterable[Finding]]
DOCTOR_CHECKS: Registry[DoctorCheck] = Registry("doctor check")


def examine() -> list[Finding]:
    """The findings of all checks, in the order of their names."""
    return [finding for name, check in DOCTOR_CHECKS.items() for finding in _findings_of(name, check)]


def _findings_of(name: str, check: DoctorCheck) -> list[Finding]:
    """What a check finds; one that asks a database which is away says so, and the others go on."""
    try:
        return list(check())
    except DatabaseError:
        subject = name.partition("-")[2] or name
        return [Finding(subject, Level.WARNING, "unknown while PostgreSQL does not answer", "See PostgreSQL above.")]


def _database() -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version'), current_setting('server_version_num')::int")
            version, number = cursor.fetchone()
            cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
            vector = cursor.fetchone()
        waiting = waiting_migrations()
    except DatabaseError:
        yield Finding("PostgreSQL", Level.ERROR, "does not answer", "Check DATABASE_URL, or the log in DATA_DIR/logs.")
        return
    yield _at_least(
        "PostgreSQL", str(version), number >= POSTGRES_AT_LEAST, "DATABASE_URL must name version 16 or newer."
    )
    text = vector[0] if vector else "missing"
    good = vector is not None and tuple(int(part) for part in text.split(".")) >= PGVECTOR_AT_LEAST
    yield _at_least("pgvector", text, good, "The database of DATABASE_URL needs pgvector 0.8.4 or newer.")
    if waiting:
        yield Finding("Migrations", Level.ERROR, f"{waiting} are not applied", "Run manage.py migrate.")
    else:
        yield Finding("Migrations", Level.OK, "all applied")


def _broker() -> Iterator[Finding]:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
            info: Any = client.info("server")
    except redis.RedisError:
        yield Finding("Valkey", Level.ERROR, "does not answer", "Check REDIS_URL, or the log in DATA_DIR/valkey.")
        return
    yield Finding("Valkey", Level.OK, str(info.get("valkey_version") or info.get("redis_version")))


def _secrets() -> Iterator[Finding]:
    try:
        yield Finding("ENCRYPTION_KEYS", Level.OK, f"the current key is {key_ring().current_id}")
    except ValueError as error:
        detail = str(error).removeprefix("ENCRYPTION_KEYS: ")
        yield Finding("ENCRYPTION_KEYS", Level.ERROR, detail, "Set ENCRYPTION_KEYS to id:base64 of 32 random bytes.")


def _storage() -> Iterator[Finding]:
    if os.access(settings.STORAGE_DIR, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("Files", Level.OK, str(settings.STORAGE_DIR))
    else:
        yield Finding(
            "Files", Level.ERROR, f"{settings.STORAGE_DIR} cannot be written", "Set DATA_DIR to another folder."
        )


def _at_least(subject: str, detail: str, good: bool, remedy: str) -> Finding:
    return Finding(subject, Level.OK, detail) if good else Finding(subject, Level.ERROR, detail, remedy)


DOCTOR_CHECKS.register("10-database", _database)
DOCTOR_CHECKS.register("20-broker", _broker)
DOCTOR_CHECKS.register("30-secrets", _secrets)
DOCTOR_CHECKS.register("40-storage", _storage)
