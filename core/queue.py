"""The one way to enqueue background work: by task name, with ids only, after the transaction commits."""

import logging
from datetime import timedelta
from enum import StrEnum
from functools import partial

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from core.faults import fault

logger = logging.getLogger(__name__)


class Queue(StrEnum):
    INGEST = "ingest"
    SYNC = "sync"
    EVALUATE = "evaluate"
    DEFAULT = "default"


def enqueue(task: str, *ids: str, queue: Queue = Queue.DEFAULT, delay: timedelta = timedelta()) -> None:
    """Publish the task when the surrounding transaction has committed; never for one that is rolled back.

    A broker that is down does not lose the work: the job row is the truth, and the sweeper publishes it again.
    """
    transaction.on_commit(partial(_publish, task, ids, queue, delay))


def _publish(task: str, ids: tuple[str, ...], queue: Queue, delay: timedelta) -> None:
    fault("queue.before_publish")
    try:
        current_app.send_task(task, args=list(ids), queue=queue.value, countdown=delay.total_seconds(), retry=False)
    except OperationalError:
        logger.warning("queue.unavailable", extra={"task": task, "queue": queue.value})
    fault("queue.published")
