"""Parsers run in a child process of their own: little memory, little time, no network, nothing to write to.

The child is a plain Python process on a module free of Django (Celery's children may not use multiprocessing). It is
kept warm; one that crashed, hung or grew is replaced for the next file. Requests and answers are JSON behind a length.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from knowledge.ingestion.parser_child import Limits
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

ROOT = Path(__file__).resolve().parents[2]
MODULE = "knowledge.ingestion.parser_child"
WALL_SECONDS = 120.0
START_SECONDS = 30.0
FILES_PER_CHILD = 200
MAX_FILE_BYTES = 100 << 20
MAX_ANSWER_BYTES = 512 << 20
NEAR_LIMIT = 0.6  # of the memory allowed: a library that died above it died of that
HEADER = struct.Struct(">I")
SIGNALS = {signal.SIGSEGV: "segmentation fault", signal.SIGABRT: "it aborted", signal.SIGBUS: "bus error"}


class ParserProcess:
    """A parser child and its replacement. One file at a time; safe to call from several threads.

    wall_seconds: for one file, then the child is killed. limits: see there. plugins: modules that register parsers.
    """

    def __init__(
        self,
        *,
        wall_seconds: float = WALL_SECONDS,
        limits: Limits | None = None,
        max_file_bytes: int = MAX_FILE_BYTES,
        files_per_child: int = FILES_PER_CHILD,
        plugins: Sequence[str] = (),
    ) -> None:
        self._wall_seconds = wall_seconds
        self._limits = limits or Limits()
        self._max_file_bytes = max_file_bytes
        self._files_per_child = files_per_child
        self._plugins = tuple(plugins)
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._parsed = 0
        self._isolation = ""

    def parse(self, path: Path, media_type: str) -> ParsedDocument:
        """Parse a file. Raises ParseError with the parser's reason, or with what became of the child."""
        self._refuse_large(path)
        with self._lock:
            try:
                child = self._ready_child()
                self._send(child, {"path": str(path.absolute()), "media_type": media_type})
                answer = self._receive(child, self._wall_seconds)
            except TimeoutError:
                self._end(kill=True)
                raise self._too_slow() from None
            except (EOFError, OSError):
                raise self._obituary() from None
            self._parsed += 1
            if answer.get("recycle") or self._parsed >= self._files_per_child:
                self._end(kill=True)
        if "error" in answer:
            raise ParseError(answer["error"]["code"], answer["error"]["reason"])
        return _document(answer)

    def isolation(self) -> str:
        """How the child is kept from the network, for `doctor`."""
        with self._lock:
            try:
                self._ready_child()
            except (TimeoutError, EOFError, OSError):
                self._end(kill=True)
                return "the parser child does not start"
            return self._isolation

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        child = self._child
        return child.pid if child is not None else None

    def close(self) -> None:
        """End the child. The next file would start another."""
        with self._lock:
            self._end(kill=True)

    def _refuse_large(self, path: Path) -> None:
        size = path.stat().st_size
        if size > self._max_file_bytes:
            most = self._max_file_bytes >> 20
            raise ParseError("too_large", f"The file has {size >> 20} MB; at most {most} MB are read.")

    def _ready_child(self) -> "subprocess.Popen[bytes]":
        if self._child is not None and self._child.poll() is None:
            return self._child
        self._end(kill=True)
        config = {
            "limits": asdict(self._limits),
            "plugins": self._plugins,
            # The kernel sends the signal when the thread that started the child ends, so only one that stays may ask.
            "die_with_parent": threading.current_thread() is threading.main_thread(),
        }
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULE, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        self._parsed = 0
        hello = self._receive(self._child, START_SECONDS)
        self._isolation = str(hello["isolation"])
        return self._child

    def _too_slow(self) -> ParseError:
        return ParseError(
            "timeout", f"Reading the file took longer than the {self._wall_seconds:.0f} s that are allowed."
        )

    def _obituary(self) -> ParseError:
        """Why the child is gone, in words."""
        code, peak_bytes = self._end(kill=False)
        if code == -signal.SIGXCPU:
            seconds = self._limits.cpu_seconds
            return ParseError("timeout", f"Reading the file took more than the {seconds} s of CPU that are allowed.")
        if code == -signal.SIGKILL or peak_bytes > NEAR_LIMIT * self._limits.memory_bytes:
            allowed = self._limits.memory_bytes >> 20
            reason = f"Reading the file takes more memory than there is; {allowed} MB are allowed."
            return ParseError("out_of_memory", reason)
        how = SIGNALS.get(signal.Signals(-code), signal.Signals(-code).name) if code < 0 else f"exit code {code}"
        return ParseError("parser_crashed", f"The program that reads this kind of file crashed on it ({how}).")

    def _end(self, *, kill: bool) -> tuple[int, int]:
        """Reap the child; returns its exit code and the most memory that it held, in bytes."""
        child, self._child = self._child, None
        if child is None:
            return 0, 0
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if kill and child.returncode is None:
            child.kill()
        return _reap(child)

    @staticmethod
    def _send(child: "subprocess.Popen[bytes]", message: dict[str, Any]) -> None:
        assert child.stdin is not None
        body = json.dumps(message).encode()
        child.stdin.write(HEADER.pack(len(body)) + body)
        child.stdin.flush()

    @classmethod
    def _receive(cls, child: "subprocess.Popen[bytes]", seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        (length,) = HEADER.unpack(cls._read(child, HEADER.size, deadline))
        if length > MAX_ANSWER_BYTES:
            raise EOFError
        message: dict[str, Any] = json.loads(cls._read(child, length, deadline))
        return message

    @staticmethod
    def _read(child: "subprocess.Popen[bytes]", size: int, deadline: float) -> bytes:
        """Exactly `size` bytes before the deadline; EOFError when the child is gone."""
        assert child.stdout is not None
        descriptor = child.stdout.fileno()
        parts: list[bytes] = []
        while size:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(descriptor, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _reap(child: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Wait for the end; `Popen.wait` does not tell the memory."""
    if child.returncode is not None:
        return child.returncode, 0
    deadline = time.monotonic() + 2
    while True:
        try:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        except ChildProcessError:  # reaped by somebody else
            child.returncode = -signal.SIGABRT
            return child.returncode, 0
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode, usage.ru_maxrss * 1024
        if time.monotonic() > deadline:
            child.kill()
        time.sleep(0.005)


def _document(answer: dict[str, Any]) -> ParsedDocument:
    blocks = tuple(Block(BlockKind(kind), text, level, page) for kind, text, level, page in answer["blocks"])
    return ParsedDocument(blocks, answer["title"], answer["metadata"])


_processes: dict[int, ParserProcess] = {}
_processes_lock = threading.Lock()


def default_process() -> ParserProcess:
    """The parser of this process; a worker that was forked makes its own."""
    from django.conf import settings  # here alone: the rest of this module is free of Django

    pid = os.getpid()
    with _processes_lock:
        if pid not in _processes:
            _processes.clear()
            _processes[pid] = ParserProcess(plugins=settings.MAGNET_PLUGINS)
            atexit.register(_processes[pid].close)
        return _processes[pid]
