"""The processes of the platform: how each is started, watched, started again and ended."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

# Where a part that is more than its process tells that it serves: the name of the variable that holds the path.
READY_FILE = "MAGNET_READY_FILE"

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
STEADY_SECONDS = 20.0
LOG_BYTES = 20 * 2**20

PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for this signal when the parent dies; nothing happens on systems without it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


@dataclass
class Part:
    """One process of ours with all that it forks, in a process group of its own.

    tells: whether the part writes its ready file when it serves; else a living process is all that is asked.
    A part that ends is started again: at once, then after pauses that double while it does not stay up.
    """

    name: str
    command: list[str]
    folder: Path
    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    tells: bool = False
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_ends: int = 0
    due: float = 0.0
    _told: int = 0

    @property
    def log(self) -> Path:
        return self.data_dir / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "run" / f"{self.name}.pid"

    @property
    def ready_file(self) -> Path:
        return self.data_dir / "run" / f"{self.name}.ready"

    def start(self) -> None:
        self.ready_file.unlink(missing_ok=True)
        self._rotate_log()
        with self.log.open("ab") as log:
            self._told = log.tell()
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environment, READY_FILE: str(self.ready_file)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # The supervisor has one thread, so this is safe between fork and exec.
                preexec_fn=_end_with_the_supervisor,  # noqa: PLW1509
            )
        self.started = time.monotonic()
        self._note_pid(self.process.pid)

    def _note_pid(self, pid: int) -> None:
        """In one step: who reads it finds the old number or the new one, and never an empty file."""
        draft = self.pid_file.with_suffix(".new")
        draft.write_text(f"{pid}\n")
        draft.replace(self.pid_file)

    def watch(self, say: Callable[[str], None]) -> None:
        """Start the part again when it has ended and its pause is over; say why and where to read on."""
        if self.process is None:
            if time.monotonic() >= self.due:
                self.start()
            return
        code = self.process.poll()
        if code is None:
            return
        self.kill()
        self.process = None
        self.quick_ends = 0 if time.monotonic() - self.started > STEADY_SECONDS else self.quick_ends + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** max(0, self.quick_ends - 1))
        self.due = time.monotonic() + pause
        say(f"{self.name} ended ({_reason(code)}) and is started again in {pause:g} s; log: {self.log}")

    def serves(self) -> bool:
        return not self.ended() and (self.ready_file.exists() or not self.tells)

    def terminate(self) -> None:
        """Ask the part to end; its main process tells those that it forked."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def kill(self) -> None:
        """End what is left of the process group."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end_leftovers(self) -> None:
        """End the group that a killed supervisor left behind, if it is still that group."""
        try:
            group = int(self.pid_file.read_text())
            written = self.pid_file.stat().st_mtime
        except (OSError, ValueError):
            return
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                # Numbers come again: a leader that is younger than its file, or lives elsewhere, is not ours.
                ours = os.getpgid(process.pid) == group and process.cwd() == str(self.folder)
                if ours and (process.pid != group or process.create_time() <= written + 5):
                    process.kill()
                    process.wait(10)
        self.pid_file.unlink(missing_ok=True)

    def new_errors(self) -> list[str]:
        """Errors that were logged since the last look, one line each."""
        try:
            with self.log.open("rb") as log:
                log.seek(self._told)
                whole = log.read().rpartition(b"\n")
        except OSError:
            return []
        self._told += len(whole[0]) + len(whole[1])
        return [text for line in whole[0].splitlines() if (text := _error_text(line))]

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))


def _end_with_the_supervisor() -> None:
    die_with_parent(signal.SIGKILL)


def _reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _error_text(line: bytes) -> str:
    """The message of a JSON log line of level ERROR or worse; "" for any other line."""
    if b'"ERROR"' not in line and b'"CRITICAL"' not in line:
        return ""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if entry.get("level") not in ("ERROR", "CRITICAL"):
        return ""
    trace = str(entry.get("exc_info", "")).strip().splitlines()
    return " · ".join([str(entry.get("message", "")), *trace[-1:]])
