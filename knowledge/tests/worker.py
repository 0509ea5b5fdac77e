"""A real Celery worker of a test, with a short lease and small batches: `python -m knowledge.tests.worker`."""

import os
from pathlib import Path

import django
from celery.signals import task_prerun
from django.conf import settings


def _note_begin(**_: object) -> None:
    """A line for each message that a process takes up."""
    with Path(os.environ["TEST_BEGUN"]).open("a") as begun:
        begun.write(f"{os.getpid()}\n")


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
    django.setup()
    from knowledge.ingestion import pipeline
    from magnet.celery import app

    settings.JOB_LEASE_SECONDS = float(os.environ["TEST_LEASE"])
    settings.STORAGE_DIR = Path(os.environ["TEST_STORAGE"])
    pipeline.REMOTE_BATCH = int(os.environ["TEST_BATCH"])
    if "TEST_VISIBILITY" in os.environ:
        # kombu looks for messages to hand out again only at each tenth sweep of ten seconds: here once a second.
        app.conf.broker_transport_options |= {
            "visibility_timeout": int(os.environ["TEST_VISIBILITY"]),
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
    if "TEST_BEGUN" in os.environ:
        task_prerun.connect(_note_begin, weak=False)
    app.worker_main(["worker", "--queues", "ingest", "--concurrency", "2", "--loglevel", "WARNING", "-n", "tests@%h"])


if __name__ == "__main__":
    main()
