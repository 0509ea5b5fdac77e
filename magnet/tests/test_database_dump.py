"""The database as a file: what is dumped stands again, in another place and over what was there."""

import subprocess
import sys
from pathlib import Path

import pytest

from magnet.embedded.data_dir import DataDir
from magnet.embedded.errors import PlatformError
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.environment import BASE_DIR
from magnet.tests.platform import clean_environment

NAMES = "from accounts.models import Workspace; print(*Workspace.objects.values_list('slug', flat=True))"
MAKE = "from accounts.models import Workspace; Workspace.objects.create(name='Kept', slug='kept')"
CHANGE = "from accounts.models import Workspace; Workspace.objects.update(slug='changed')"

pytestmark = pytest.mark.timeout(180)


def manage(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=clean_environment(DATA_DIR=str(data_dir)),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def run_python(data_dir: Path, code: str) -> str:
    done = manage(data_dir, "shell", "--no-imports", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.exhaustive
def test_a_dump_is_restored_elsewhere_and_over_later_changes(tmp_path: Path) -> None:
    old, new, dump = tmp_path / "old", tmp_path / "new", tmp_path / "magnet.dump"
    assert manage(old, "migrate", "-v0").returncode == 0
    run_python(old, MAKE)

    dumped = manage(old, "dump_database", str(dump))
    again = manage(old, "dump_database", str(dump))
    run_python(old, CHANGE)
    elsewhere = manage(new, "restore_database", str(dump), "--yes")
    over = manage(old, "restore_database", str(dump), "--yes")

    assert dumped.returncode == elsewhere.returncode == over.returncode == 0, elsewhere.stderr + over.stderr
    assert run_python(new, NAMES) == run_python(old, NAMES) == "kept"
    assert manage(new, "migrate", "--check").returncode == 0
    assert (again.returncode, again.stderr.strip()) == (1, f"CommandError: {dump} exists; name another file.")


@pytest.mark.exhaustive
def test_what_is_no_dump_changes_nothing(tmp_path: Path) -> None:
    data, wrong = tmp_path / "data", tmp_path / "wrong.dump"
    wrong.write_text("-- SQL")
    assert manage(data, "migrate", "-v0").returncode == 0
    run_python(data, MAKE)

    refused = manage(data, "restore_database", str(wrong), "--yes")

    assert refused.returncode == 1
    assert f"{wrong} is no dump of dump_database." in refused.stderr
    assert run_python(data, NAMES) == "kept"


def test_data_of_another_major_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path).prepare()
    server = EmbeddedPostgres(data_dir)
    server.acquire()
    server.release()
    (server.cluster / "PG_VERSION").write_text("17\n")

    with pytest.raises(PlatformError) as refused:
        server.acquire()

    assert "was written by PostgreSQL 17, and this release brings 18" in str(refused.value)
    assert "manage.py dump_database magnet.dump" in str(refused.value)
    assert "manage.py restore_database magnet.dump" in str(refused.value)
    assert "\n" not in str(refused.value)
