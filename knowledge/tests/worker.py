"""A real Celery worker of a test, with a short lease and small batches: `python -m knowledge.tests.worker`."""

import os
from pathlib import Path

import django
from django.conf import settings


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
    django.setup()
    from knowledge.ingestion import pipeline
    from magnet.celery import app

    settings.JOB_LEASE_SECONDS = float(os.environ["TEST_LEASE"])
    settings.STORAGE_DIR = Path(os.environ["TEST_STORAGE"])
    pipeline.REMOTE_BATCH = int(os.environ["TEST_BATCH"])
    app.worker_main(["worker", "--queues", "ingest", "--concurrency", "2", "--loglevel", "WARNING", "-n", "tests@%h"])


if __name__ == "__main__":
    main()
