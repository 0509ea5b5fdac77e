"""Background work. Messages are hints and job rows the truth: a lost message is sent again by the sweeper."""

import os
import signal
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")

from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_ready
from django.conf import settings
from kombu import Queue

from core.queue import Queue as QueueName
from magnet import idle_release  # noqa: F401  # listens to the worker's signals
from magnet.parts import READY_FILE, die_with_parent

SOFT_SECONDS = 30 * 60
HARD_SECONDS = SOFT_SECONDS + 60

app = Celery("magnet")
app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        # A message comes back when its worker was killed; longer than any task, so that none runs twice at once.
        "visibility_timeout": HARD_SECONDS + 60,
        # A worker asks again each second, and a request that publishes must not wait long for a broker that hangs.
        "socket_timeout": 3,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        # Publishing to a broker that is away gives up at once: the sweeper sends again, and a request does not wait.
        "max_retries": 1,
        "interval_start": 0,
    },
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=SOFT_SECONDS,
    task_time_limit=HARD_SECONDS,
    task_default_queue=QueueName.DEFAULT.value,
    task_queues=[Queue(name.value) for name in QueueName],
    task_create_missing_queues=False,
    worker_prefetch_multiplier=1,
    worker_max_memory_per_child=900_000,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # SIGTERM lets running tasks end for so long, then gives their messages back; their jobs go on elsewhere.
    worker_soft_shutdown_timeout=10.0,
    enable_utc=True,
)
app.set_default()  # for every thread, not only for the one that imports this
app.autodiscover_tasks()


@setup_logging.connect
def keep_djangos_logging(**_: Any) -> None:
    """Celery leaves logging alone when somebody listens here; the settings configure it."""


@worker_process_init.connect
def end_with_the_main_process(**_: Any) -> None:
    """A pool process whose main process was killed would go on with a task that is given to another one."""
    die_with_parent(signal.SIGKILL)


@worker_ready.connect
def tell_the_supervisor(**_: Any) -> None:
    marker = os.environ.get(READY_FILE)
    if marker:
        Path(marker).touch()
