"""A whole platform of its own for a test: its own DATA_DIR and port, started as a person starts it."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from magnet.embedded.server import free_port
from magnet.environment import BASE_DIR

READY_SECONDS = 90


def clean_environment(**variables: str) -> dict[str, str]:
    """Nothing of the test session's settings, only what a login shell has, and what measures coverage."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("COV")}
    return {**kept, **variables}


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> float:
    """Seconds until the condition holds; fails when it does not."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


class Platform:
    """`python -m magnet.supervisor` on a folder."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.data_dir = folder / "data"
        self.port = free_port()
        self.output = folder / "output"
        self.variables = {
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "WORKER_CONCURRENCY": "1",
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "magnet.supervisor"],
                cwd=BASE_DIR,
                env=clean_environment(**self.variables),
                stdout=output,
                stderr=output,
            )

    def start_and_wait(self) -> None:
        self.start()
        wait_for(lambda: "READY" in self.text() or self.ended(), READY_SECONDS)
        assert f"READY http://localhost:{self.port}" in self.text().splitlines(), self.text()

    def text(self) -> str:
        return self.output.read_text()

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def pid(self, part: str) -> int:
        return int((self.data_dir / "run" / f"{part}.pid").read_text())

    def server_pid(self, server: str) -> int:
        path = {"postgres": "postgres/cluster/postmaster.pid", "valkey": "valkey/valkey.pid"}[server]
        return int((self.data_dir / path).read_text().split()[0])

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `manage.py` as somebody beside the platform would."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env=clean_environment(**self.variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def password(self) -> str | None:
        found = re.search(r"^Password (\S+)", self.text(), re.MULTILINE)
        return found[1] if found else None

    def terminate(self) -> float:
        """Seconds from SIGTERM to the end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(40)
        return time.monotonic() - began

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def processes(self) -> list[str]:
        """Command lines of everything that lives on this folder or port."""
        marks = (str(self.data_dir), f"--port {self.port}")
        found = []
        for process in psutil.process_iter():
            try:
                environ = process.environ().get("DATA_DIR") == str(self.data_dir)
                command = " ".join(process.cmdline())
                if process.status() != psutil.STATUS_ZOMBIE and (environ or any(mark in command for mark in marks)):
                    found.append(command)
            except psutil.Error:
                continue
        return found
