"""The periodic roll-up: each usage record is added to its hour and its day once, however often and wherever this runs.

A batch is one statement: it marks records and adds them up in the same transaction, so a crash loses or doubles
nothing. Records that come late (a long run stores its usage at its end) are simply not marked yet. All records from
before the first roll-up are not marked either: that is the backfill.
"""

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core.schedules import PATIENCE_SECONDS, delete_in_batches, first_id_of
from observability.choices import Grain
from observability.models import UsageRecord, UsageRollup
from observability.usage.latency import BUCKET_SQL, GAMMA

BATCH = 10_000
LOCK = 5_310_406  # one roll-up at a time: two would wait for each other's rows in different orders
# Hours are kept so long that each day of a year can be compared with itself in every time zone; days stay.
HOURS_KEPT = timedelta(days=400)

KEY = (
    "workspace_id, grain, start, operation, provider_slug, model_slug, target_kind, target_slug, key_id, user_id, "
    "status, currency"
)
SUMS = (
    "calls", "estimated", "unpriced", "input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens",
    "cost", "duration_ms",
)  # fmt: skip

ROLL_UP = f"""
WITH batch AS MATERIALIZED (
    SELECT * FROM observability_usagerecord WHERE NOT rolled_up LIMIT %(batch)s FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE observability_usagerecord SET rolled_up = true WHERE id IN (SELECT id FROM batch) RETURNING id
), counted AS (
    SELECT batch.*, grain, date_trunc(grain, created_at, 'UTC') AS start, {BUCKET_SQL} AS bucket
    FROM batch CROSS JOIN (VALUES ('{Grain.HOUR.value}'), ('{Grain.DAY.value}')) AS grains (grain)
), by_bucket AS (
    SELECT {KEY}, bucket, count(*) AS calls, count(*) FILTER (WHERE estimated) AS estimated,
           count(*) FILTER (WHERE cost IS NULL) AS unpriced, sum(input_tokens) AS input_tokens,
           sum(output_tokens) AS output_tokens, sum(cached_input_tokens) AS cached_input_tokens,
           sum(reasoning_tokens) AS reasoning_tokens, coalesce(sum(cost), 0) AS cost, sum(duration_ms) AS duration_ms
    FROM counted GROUP BY {KEY}, bucket
), added AS (
    INSERT INTO observability_usagerollup AS kept ({KEY}, {", ".join(SUMS)}, latency_buckets, latency_counts)
    SELECT {KEY}, {", ".join(f"sum({name})" for name in SUMS)}, array_agg(bucket ORDER BY bucket),
           array_agg(calls ORDER BY bucket)
    FROM by_bucket GROUP BY {KEY}
    ON CONFLICT ({KEY}) DO UPDATE SET
        {", ".join(f"{name} = kept.{name} + excluded.{name}" for name in SUMS)},
        (latency_buckets, latency_counts) = (
            SELECT array_agg(bucket ORDER BY bucket), array_agg(calls ORDER BY bucket) FROM (
                SELECT bucket, sum(calls)::bigint AS calls FROM (
                    SELECT * FROM unnest(kept.latency_buckets, kept.latency_counts) AS old (bucket, calls)
                    UNION ALL
                    SELECT * FROM unnest(excluded.latency_buckets, excluded.latency_counts) AS new (bucket, calls)
                ) AS both_sketches GROUP BY bucket
            ) AS merged
        )
    RETURNING 1
)
SELECT (SELECT count(*) FROM marked), (SELECT count(*) FROM added)
"""  # noqa: S608  # names of our own columns; values are parameters


def roll_up(*, batch: int = BATCH, patience: float = PATIENCE_SECONDS) -> int:
    """Add up what is not added up yet; returns how many records. What is left after `patience` seconds waits."""
    began, done = time.monotonic(), 0
    while time.monotonic() - began < patience:
        records = _one_batch(batch)
        done += records
        if records < batch:
            break
    return done


@transaction.atomic
def _one_batch(batch: int) -> int:
    """0 when there is nothing to do, or when another process does it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(ROLL_UP, {"batch": batch, "gamma": GAMMA})
        return int(cursor.fetchone()[0])


def remove_old_records() -> int:
    """Usage records older than RETENTION_DAYS, and only those that are rolled up."""
    days: int = settings.RETENTION_DAYS
    if not days:
        return 0
    old = first_id_of(timezone.now() - timedelta(days=days))
    return delete_in_batches(UsageRecord._unscoped.filter(pk__lt=old, rolled_up=True))


def hours_since(now: datetime | None = None) -> datetime:
    """From this midnight (UTC) on, reports may count on hours; before, on days alone. The beginning if all is kept."""
    if not settings.RETENTION_DAYS:
        return datetime.min.replace(tzinfo=timezone.get_default_timezone())
    kept = max(HOURS_KEPT, timedelta(days=settings.RETENTION_DAYS))
    return ((now or timezone.now()) - kept).replace(hour=0, minute=0, second=0, microsecond=0)


def remove_old_hours() -> int:
    """Hours that no report reads any more; their days stay."""
    if not settings.RETENTION_DAYS:
        return 0
    return delete_in_batches(UsageRollup._unscoped.filter(grain=Grain.HOUR, start__lt=hours_since()))
