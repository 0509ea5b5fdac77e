"""Production with a weak setting does not start: each process by itself, and the platform as `make run` starts it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from magnet.embedded.server import free_port
from magnet.environment import BASE_DIR, Environment
from magnet.supervisor import PYTHON, Supervisor
from magnet.tests.platform import Platform, clean_environment, wait_for
from magnet.tests.test_settings import SAFE, WEAK

EMPTY = "test_magnet_without_tables"


def started(tmp_path: Path, part: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """One part, as the supervisor starts it, until it has ended."""
    variables = {"DATA_DIR": str(tmp_path / "data"), "PORT": str(free_port()), **variables}
    parts = {one.name: one for one in Supervisor(Environment({**variables, "LOG_LEVEL": "INFO"})).parts}
    command = [*PYTHON, "magnet.supervisor"] if part == "all" else parts[part].command
    return subprocess.run(
        command,
        cwd=BASE_DIR,
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def weak_starts() -> Iterator[Any]:
    """`make test` tries one weak setting, `make test-all` each; the worker, which reads them alike, the first."""
    for part in ("all", "web", "worker"):
        for changed, line in WEAK if part != "worker" else WEAK[:1]:
            marks = [] if changed == {"CORS_ALLOWED_ORIGINS": "*"} else [pytest.mark.exhaustive]
            yield pytest.param(part, changed, line, marks=marks, id=f"{part} {changed}")


@pytest.mark.parametrize(("part", "changed", "line"), list(weak_starts()))
def test_weak_setting_ends_the_start_with_one_line(
    tmp_path: Path, part: str, changed: dict[str, str], line: str
) -> None:
    answer = started(tmp_path, part, **{**SAFE, **changed})

    assert answer.returncode == 1
    assert answer.stdout == ""
    (told,) = answer.stderr.splitlines()
    assert told.startswith(line)
    secret = changed.get("SECRET_KEY") or SAFE["SECRET_KEY"]
    assert secret not in told.removeprefix("SECRET_KEY: must be set to at least 32 random characters")


def test_weak_setting_is_told_before_anything_is_started(tmp_path: Path) -> None:
    platform = Platform(tmp_path, **{**SAFE, "ENCRYPTION_KEYS": ""})

    platform.start()
    wait_for(platform.ended, 20)

    assert platform.text().startswith("ENCRYPTION_KEYS: must be set")
    assert platform.processes() == []
    assert not (platform.data_dir / "postgres" / "cluster").exists()
    assert not (platform.data_dir / "logs" / "prepare.log").exists()


@pytest.fixture
def without_tables(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The URL of a database that nobody has migrated."""
    base = connection.settings_dict
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {EMPTY}")
        cursor.execute(f"CREATE DATABASE {EMPTY}")
        yield f"postgresql://{base['USER']}:{base['PASSWORD']}@{base['HOST']}:{base['PORT']}/{EMPTY}"
        cursor.execute(f"DROP DATABASE {EMPTY} WITH (FORCE)")


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", ["all", "web"])
def test_database_without_its_migrations_ends_the_start(tmp_path: Path, part: str, without_tables: str) -> None:
    answer = started(tmp_path, part, **SAFE, DATABASE_URL=without_tables, REDIS_URL=settings.REDIS_URL)

    told = [line for line in answer.stderr.splitlines() if "DATABASE_URL" in line]
    assert answer.returncode != 0
    assert len(told) == 1, answer.stderr
    assert "migrations are not applied; back up, run manage.py migrate." in told[0]
    assert "READY" not in answer.stdout
