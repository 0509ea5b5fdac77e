"""The tick: a plain Celery beat that needs neither Django nor the database, so it costs little memory.

It only says that time has passed. What is due is decided by the task, from rows that it claims, so several may tick.
"""

import os

# Celery would set Django up for this name.
os.environ.pop("DJANGO_SETTINGS_MODULE", None)

import logging
from typing import Any

from celery import Celery
from celery.signals import setup_logging

from core.logging import JsonFormatter
from magnet import environment
from magnet.embedded.data_dir import DataDir
from magnet.embedded.valkey import EmbeddedValkey

_env = environment.load()
TICK_SECONDS = 15.0 / environment.haste(_env)
_data_dir = DataDir(environment.data_dir(_env))

app = Celery("magnet", broker=_env.secret("REDIS_URL") or EmbeddedValkey(_data_dir).url)
app.conf.update(
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    worker_hijack_root_logger=False,
    enable_utc=True,
    beat_schedule_filename=str(_data_dir.root / "run" / "beat"),
    beat_schedule={
        # Expires before the next one, so that a worker that was away does not find a heap of them.
        "tick": {
            "task": "observability.tasks.tick",
            "schedule": TICK_SECONDS,
            "options": {"queue": "default", "expires": TICK_SECONDS},
        },
    },
)


@setup_logging.connect
def log_as_json(**_: Any) -> None:
    """Without Django's settings; only what goes wrong is worth a line."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
