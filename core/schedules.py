"""Recurring work: what the apps register, and when a cron expression is due next.

An app registers its own work, so that whoever made a table also keeps it small. The rows that say when it runs, and how
it went, stand in `observability`.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from django.db.models import QuerySet

from core.registry import Registry

# Work that takes longer is ended; a hold on it is longer still, so that no two processes do it at once.
LONGEST_SECONDS = 300
BATCH = 1000
PATIENCE_SECONDS = 120.0
UUID7_RANDOM_BITS = 80


@dataclass(frozen=True)
class Recurring:
    """Work of the platform that comes back.

    title, text: for people, what it is and what it does. cron: five fields, read in UTC unless the row names another
    zone; "" is for what every tick does.
    work: returns how many things it dealt with, counted in `unit`; may run twice, and ends within LONGEST_SECONDS.
    """

    title: Any
    text: Any
    cron: str
    unit: Any
    work: Callable[[], int]


RECURRING: Registry[Recurring] = Registry("recurring work")


class BadCron(ValueError):
    """The text is not a cron expression."""


class UnknownZone(ValueError):
    """There is no time zone of this name."""


def next_run(cron: str, zone: str, after: datetime) -> datetime:
    """The first time that is due behind `after`, in UTC.

    Days on which the clock changes are read as Debian's cron reads them: a time that the day leaves out (02:30 in
    spring) is due where the gap ends (03:00), and a time that it has twice (02:30 in autumn) only once, the first time.
    Expressions with a wildcard for the hour follow the time that really passes. Raises BadCron, UnknownZone.
    """
    try:
        local = after.astimezone(ZoneInfo(zone))
    except (LookupError, ValueError, OSError) as error:
        raise UnknownZone(f"'{zone}' is not a time zone: write a name such as Europe/Paris or UTC.") from error
    try:
        return next(CronSim(cron, local)).astimezone(UTC)
    except StopIteration:
        raise BadCron(f"'{cron}' names a date that never comes.") from None
    except CronSimError as error:
        raise BadCron(f"'{cron}' is not a cron expression ({error}): write five fields such as 30 2 * * *.") from error


def first_id_of(moment: datetime) -> uuid.UUID:
    """The least UUIDv7 of this millisecond: ids below it are older, which a primary key answers without a scan."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << UUID7_RANDOM_BITS)


def delete_in_batches(rows: QuerySet[Any], *, batch: int = BATCH, patience: float = PATIENCE_SECONDS) -> int:
    """Delete the rows a batch at a time, each batch in a transaction of its own; returns how many rows went.

    Short locks, and no transaction that keeps others from cleaning up. What is left after `patience` seconds goes the
    next time.
    """
    began, removed = time.monotonic(), 0
    while time.monotonic() - began < patience:
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[:batch])
        if not ids:
            break
        rows.model._base_manager.filter(pk__in=ids).delete()
        removed += len(ids)
    return removed
