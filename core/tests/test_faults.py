import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from core import faults
from core.faults import POINTS, FaultInjected, fault
from magnet.environment import BASE_DIR


@pytest.fixture(autouse=True)
def fresh_counts():
    faults._calls.clear()


def test_nothing_happens_without_the_variable(monkeypatch):
    monkeypatch.delenv("MAGNET_FAULT", raising=False)

    assert fault("job.leased") is None


def test_a_point_that_is_not_listed_is_a_mistake():
    with pytest.raises(ValueError, match="not a listed fault point"):
        fault("nowhere")


def test_only_the_named_point_fails(monkeypatch):
    monkeypatch.setenv("MAGNET_FAULT", "run.created=raise")

    fault("job.leased")
    with pytest.raises(FaultInjected):
        fault("run.created")


def test_the_nth_call_fails_and_no_other(monkeypatch):
    monkeypatch.setenv("MAGNET_FAULT", "run.created:2=raise")

    fault("run.created")
    with pytest.raises(FaultInjected):
        fault("run.created")
    fault("run.created")


def test_outside_the_test_profile_the_variable_is_ignored(monkeypatch, settings):
    monkeypatch.setenv("MAGNET_FAULT", "run.created=raise")
    settings.FAULTS_ENABLED = False

    assert fault("run.created") is None


def test_hang_sleeps(monkeypatch):
    slept = []
    monkeypatch.setenv("MAGNET_FAULT", "run.created=hang")
    monkeypatch.setattr(faults.time, "sleep", slept.append)

    fault("run.created")

    assert slept == [3600]


def test_exit_ends_the_process_at_once():
    code = "import django; django.setup(); from core.faults import fault; fault('run.created'); print('alive')"
    env = {**os.environ, "MAGNET_FAULT": "run.created", "DJANGO_SETTINGS_MODULE": "magnet.settings"}

    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 86
    assert "alive" not in done.stdout


def test_exit_is_the_default_action(monkeypatch):
    codes = []
    monkeypatch.setenv("MAGNET_FAULT", "run.created")
    monkeypatch.setattr(faults.os, "_exit", codes.append)

    fault("run.created")

    assert codes == [86]


def test_a_file_arms_a_platform_that_runs_and_strikes_once(monkeypatch, tmp_path):
    armed = tmp_path / "fault"
    monkeypatch.setenv("MAGNET_FAULT_FILE", str(armed))
    fault("run.created")
    armed.write_text("run.created:2=raise")

    fault("run.created")
    with pytest.raises(FaultInjected):
        fault("run.created")

    assert not armed.exists()
    fault("run.created")


def test_a_file_that_is_written_again_is_counted_anew(monkeypatch, tmp_path):
    armed = tmp_path / "fault"
    monkeypatch.setenv("MAGNET_FAULT_FILE", str(armed))
    for _ in range(2):
        armed.write_text("run.created:2=raise")
        fault("run.created")
        with pytest.raises(FaultInjected):
            fault("run.created")


def test_every_listed_point_stands_at_one_place_in_the_code():
    """One that is used nowhere would be walked without a crash; one that is used twice says not where it was."""
    used: Counter[str] = Counter()
    for path in BASE_DIR.glob("[a-z]*/**/*.py"):
        if "tests" not in path.parts and path.name != "faults.py":
            used.update(re.findall(r"""\bfault\(["']([^"']+)["']\)""", path.read_text()))

    assert set(used) == POINTS
    assert set(used.values()) == {1}
    assert len(POINTS) >= 25


def test_of_two_processes_that_read_the_file_one_acts(tmp_path):
    path = tmp_path / "fault"
    path.write_text("run.created=raise")

    assert [faults._taken(path), faults._taken(path)] == [True, False]
