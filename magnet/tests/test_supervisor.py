"""The journey of `make run`, with real processes on a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.environment import BASE_DIR
from magnet.tests.platform import Platform, clean_environment, wait_for

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("platform with a space"))
    platform.start_and_wait()
    yield platform
    if not platform.ended():
        platform.terminate()


def test_first_start_shows_a_password_that_opens_the_door(platform: Platform) -> None:
    password = platform.password()
    script = (
        "from django.contrib.auth import authenticate\n"
        f"print(authenticate(username='admin@localhost', password={password!r}))"
    )

    answer = platform.manage("shell", "--no-imports", "-c", script)

    assert answer.stdout.strip() == "admin@localhost", answer.stderr
    assert not (platform.data_dir / "secrets" / "first_password").exists()


def test_command_lines_tell_the_parts_apart_and_hold_no_secret(platform: Platform) -> None:
    commands = "\n".join(platform.processes())

    assert f"uvicorn magnet.asgi:application --host 127.0.0.1 --port {platform.port}" in commands
    assert "celery --quiet -A magnet worker --queues ingest,sync,evaluate,default" in commands
    assert "celery --quiet -A magnet.scheduler beat" in commands
    for secret in (platform.data_dir / "secrets").iterdir():
        assert secret.read_text().strip() not in commands


def test_doctor_counts_the_memory_of_every_part(platform: Platform) -> None:
    answer = platform.manage("doctor", "--json")

    report = json.loads(answer.stdout)
    assert set(report["memory"]["parts"]) == {"supervisor", "postgres", "valkey", "web", "worker", "scheduler"}
    # The seeds may be in work: with the model loaded a gigabyte is the limit.
    assert report["memory"]["total_bytes"] < 2**30
    assert report["ok"] is True
    assert answer.returncode == 0


def test_second_start_on_the_same_folder_is_one_line(platform: Platform) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "magnet.supervisor"],
        cwd=BASE_DIR,
        env=clean_environment(**platform.variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        f"DATA_DIR: a platform runs on {platform.data_dir} already; stop it, or set another DATA_DIR."
    ]
    assert platform.is_ready()


@pytest.mark.parametrize("part", ["web", "worker", "scheduler"])
def test_killed_part_is_back_within_five_seconds(platform: Platform, part: str) -> None:
    before = platform.pid(part)

    os.kill(before, signal.SIGKILL)

    # Started within five seconds; how long its imports take is up to the machine.
    assert wait_for(lambda: platform.pid(part) != before, 10) < 5
    wait_for(platform.is_ready, 40)
    assert f"{part} ended (signal SIGKILL) and is started again" in platform.text()


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_killed_server_is_back_and_the_platform_ready_again(platform: Platform, server: str) -> None:
    before = platform.server_pid(server)

    os.kill(before, signal.SIGKILL)
    wait_for(lambda: f"{server} ended and is started again" in platform.text())

    wait_for(platform.is_ready, 40)
    assert platform.server_pid(server) != before


def test_killed_supervisor_leaves_data_that_the_next_one_starts_on(platform: Platform) -> None:
    platform.kill()
    wait_for(lambda: not any("uvicorn" in command or "celery" in command for command in platform.processes()), 5)

    platform.start_and_wait()

    assert platform.password() is None
    assert platform.is_ready()


def test_sigterm_ends_every_process(platform: Platform) -> None:
    assert platform.terminate() < 30

    assert platform.process is not None
    assert platform.process.returncode == 0
    assert platform.processes() == []


def test_manage_starts_the_stopped_database_and_stops_it_after(platform: Platform) -> None:
    answer = platform.manage(
        "shell", "--no-imports", "-c", "from accounts.models import User; print(User.objects.count())"
    )

    assert answer.stdout.strip() == "1", answer.stderr
    assert platform.processes() == []


def test_taken_port_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", platform.port))
        other.listen()

        platform.start()
        wait_for(platform.ended, 20)

    assert platform.text() == (
        f"PORT: {platform.port} on 127.0.0.1 is taken or not allowed; set PORT to another one.\n"
    )
    assert platform.process is not None
    assert platform.process.returncode == 1
    assert platform.processes() == []


def test_unreachable_data_dir_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    platform = Platform(tmp_path, DATA_DIR=str(tmp_path / "file" / "data"))

    platform.start()
    wait_for(platform.ended, 20)

    assert platform.text() == (
        f"DATA_DIR: {tmp_path}/file/data cannot be written by this user (Not a directory). "
        "Set DATA_DIR to a folder that it may write.\n"
    )


def test_unknown_host_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    platform = Platform(tmp_path, HOST="203.0.113.77.invalid")

    platform.start()
    wait_for(platform.ended, 30)

    assert platform.text() == "HOST: '203.0.113.77.invalid' is not an address of this machine.\n"


def test_signal_during_the_first_start_leaves_nothing(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    platform.start()
    wait_for((platform.data_dir / "logs" / "prepare.log").exists, 20)
    time.sleep(0.3)

    seconds = platform.terminate()

    assert seconds < 20
    assert platform.processes() == []


def test_database_of_a_stopped_platform_keeps_its_rows(platform: Platform) -> None:
    postgres = EmbeddedPostgres(DataDir(platform.data_dir))
    with psycopg.connect(postgres.acquire()) as connection:
        row = connection.execute("SELECT email FROM accounts_user").fetchone()
    postgres.release()

    assert row == ("admin@localhost",)
