"""One process of the platform: ended, started again, reported."""

import json
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from magnet.embedded.data_dir import DataDir
from magnet.parts import LOG_BYTES, Part
from magnet.tests.platform import wait_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def a_part(tmp_path: Path, command: list[str]) -> Part:
    data_dir = DataDir(tmp_path / "data").prepare()
    return Part(name="thing", command=command, folder=tmp_path, data_dir=data_dir.root)


def watch_until_ended(part: Part, said: list[str]) -> None:
    wait_for(part.ended)
    part.watch(said.append)


def test_part_that_ends_at_once_is_started_after_growing_pauses(tmp_path: Path) -> None:
    part = a_part(tmp_path, [sys.executable, "-c", "raise SystemExit(3)"])
    part.start()
    said: list[str] = []
    pauses = []

    for _ in range(8):
        watch_until_ended(part, said)
        pauses.append(round(part.due - time.monotonic(), 1))
        part.due = 0
        part.watch(said.append)

    assert pauses == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30], abs=0.2)
    assert said[0] == f"thing ended (exit code 3) and is started again in 0.5 s; log: {part.log}"
    part.kill()


def test_part_that_stayed_up_is_started_after_the_shortest_pause(tmp_path: Path) -> None:
    part = a_part(tmp_path, SLEEP)
    part.start()
    part.quick_ends = 5
    part.started -= 60
    said: list[str] = []

    assert part.process is not None
    part.process.kill()
    watch_until_ended(part, said)

    assert said == [f"thing ended (signal SIGKILL) and is started again in 0.5 s; log: {part.log}"]


def test_end_of_a_part_ends_what_it_forked(tmp_path: Path) -> None:
    script = "import subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    part = a_part(tmp_path, [sys.executable, "-c", script])
    part.start()
    wait_for(part.ended)
    child = int(part.log.read_text())

    part.watch(lambda _text: None)

    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_leftovers_of_a_killed_supervisor_are_ended(tmp_path: Path) -> None:
    part = a_part(tmp_path, SLEEP)
    part.start()
    assert part.process is not None
    pid = part.process.pid

    a_part(tmp_path, SLEEP).end_leftovers()

    assert not psutil.pid_exists(pid)
    assert not part.pid_file.exists()


def test_process_with_a_number_of_old_is_left_alone(tmp_path: Path) -> None:
    part = a_part(tmp_path, SLEEP)
    part.start()
    assert part.process is not None
    os.utime(part.pid_file, (1, 1))

    a_part(tmp_path, SLEEP).end_leftovers()

    assert part.process.poll() is None
    part.kill()


def test_nothing_is_left_over_without_a_pid_file(tmp_path: Path) -> None:
    a_part(tmp_path, SLEEP).end_leftovers()


def test_part_that_tells_serves_when_it_has_told(tmp_path: Path) -> None:
    script = "import os, pathlib, time; pathlib.Path(os.environ['MAGNET_READY_FILE']).touch(); time.sleep(60)"
    part = a_part(tmp_path, [sys.executable, "-c", script])
    part.tells = True
    part.start()

    wait_for(part.serves)
    part.terminate()
    wait_for(part.ended)

    assert not part.serves()


def test_only_errors_are_shown_and_only_once(tmp_path: Path) -> None:
    part = a_part(tmp_path, [sys.executable, "-c", ""])
    part.start()
    wait_for(part.ended)
    entries = [
        {"level": "INFO", "message": 'not an "ERROR"'},
        {"level": "ERROR", "message": "request.failed", "exc_info": "Traceback\n  …\nKeyError: 'x'"},
    ]
    part.log.write_text("".join(json.dumps(entry) + "\n" for entry in entries) + 'plain "ERROR" text\n{"level": "ERR')

    assert part.new_errors() == ["request.failed · KeyError: 'x'"]
    assert part.new_errors() == []
    part.log.unlink()
    assert part.new_errors() == []


def test_large_log_is_put_aside(tmp_path: Path) -> None:
    part = a_part(tmp_path, [sys.executable, "-c", ""])
    with part.log.open("wb") as log:
        log.truncate(LOG_BYTES + 1)

    part.start()
    part.kill()

    assert part.log.with_suffix(".log.1").stat().st_size == LOG_BYTES + 1
    assert part.log.stat().st_size < 1000
