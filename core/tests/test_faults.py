import os
import subprocess
import sys

import pytest

from core import faults
from core.faults import FaultInjected, fault


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
