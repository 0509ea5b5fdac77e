"""Another process of the platform, for tests: `python -m observability.tests.child hold JOB` or `… run RUN`.

It prints a line when it is at work, and then works on for a minute unless somebody ends it.
"""

import asyncio
import os
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from urllib.parse import quote

WORK_SECONDS = 60


@contextmanager
def child(what: str, pk: object, **variables: str):
    """The process, once it is at work, on the database and the Valkey of this test session."""
    from django.db import connection

    from magnet.environment import BASE_DIR

    to = connection.settings_dict
    at = f"{quote(to['USER'])}:{quote(to['PASSWORD'])}@{quote(to['HOST'] or 'localhost', safe='')}"
    url = f"postgresql://{at}:{to['PORT'] or 5432}/{to['NAME']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "observability.tests.child", what, str(pk)],
        cwd=BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "at work"
        yield process
    finally:
        process.kill()
        process.wait(10)


def _say_at_work() -> None:
    sys.stdout.write("at work\n")
    sys.stdout.flush()


def _hold(pk: uuid.UUID) -> None:
    from django.conf import settings

    from observability.leases import LeasedJob, run_leased

    settings.JOB_LEASE_SECONDS = float(os.environ.get("LEASE", "60"))

    def work(leased: LeasedJob) -> None:
        leased.progress(3, 10)
        _say_at_work()
        until = time.monotonic() + WORK_SECONDS
        while time.monotonic() < until:
            time.sleep(0.05)
            leased.check()

    run_leased(pk, work)


async def _run(pk: uuid.UUID) -> None:
    from observability.models import Run
    from observability.runs import live
    from observability.tests.engines import Script

    run = await Run._unscoped.aget(pk=pk)
    await live.start(run, Script(texts=["word "] * 2000, pause=0.02).work(run))
    await asyncio.sleep(0.5)
    _say_at_work()
    await live.wait(pk)


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "magnet.settings")
    django.setup()
    if sys.argv[1] == "hold":
        _hold(uuid.UUID(sys.argv[2]))
    else:
        asyncio.run(_run(uuid.UUID(sys.argv[2])))
