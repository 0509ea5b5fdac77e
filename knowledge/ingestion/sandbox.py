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
from pathlib import Path
from typing import Any

from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

ROOT = Path(__file__).resolve().parents[2]
MODULE = "knowledge.ingestion.parser_child"
WALL_SECONDS = 120.0
START_SECONDS = 30.0
FILES_PER_CHILD = 200
HEADER = struct.Struct(">I")
CHILD_EXITS = {-signal.SIGKILL: "killed", -signal.SIGSEGV: "segmentation fault", -signal.SIGXCPU: "CPU limit"}


class ParserProcess:
    """A parser child and its replacement. One file at a time; safe to call from several threads."""

    def __init__(self, *, wall_seconds: float = WALL_SECONDS, extra_environment: dict[str, str] | None = None) -> None:
        self._wall_seconds = wall_seconds
        self._extra = extra_environment or {}
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._parsed = 0
        self._isolation = ""

    def parse(self, path: Path, media_type: str) -> ParsedDocument:
        """Parse a file. Raises ParseError with the parser's reason, or with what became of the child."""
        with self._lock:
            child = self._ready_child()
            try:
                self._send(child, {"path": str(path), "media_type": media_type})
                answer = self._receive(child, self._wall_seconds)
            except TimeoutError:
                self._end()
                reason = f"Reading the file took longer than {self._wall_seconds:.0f} s."
                raise ParseError("timeout", reason) from None
            except (EOFError, OSError):
                raise self._obituary() from None
            self._parsed += 1
            if answer.get("recycle") or self._parsed >= FILES_PER_CHILD:
                self._end()
        if "error" in answer:
            raise ParseError(answer["error"]["code"], answer["error"]["reason"])
        return _document(answer)

    def isolation(self) -> str:
        """How the child is kept from the network, for `doctor`."""
        with self._lock:
            self._ready_child()
            return self._isolation

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ready_child(self) -> "subprocess.Popen[bytes]":
        if self._child is not None and self._child.poll() is None:
            return self._child
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            **self._extra,
        }
        self._child = subprocess.Popen(
            [sys.executable, "-m", MODULE],
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

    def _obituary(self) -> ParseError:
        code = self._end()
        how = CHILD_EXITS.get(code, f"exit code {code}")
        return ParseError("parser_crashed", f"The program that reads this kind of file crashed on it ({how}).")

    def _end(self) -> int:
        child, self._child = self._child, None
        if child is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.2)
        if child.poll() is None:
            child.kill()
        code = child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return code

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


def _document(answer: dict[str, Any]) -> ParsedDocument:
    blocks = tuple(Block(BlockKind(kind), text, level, page) for kind, text, level, page in answer["blocks"])
    return ParsedDocument(blocks, answer["title"], answer["metadata"])


_processes: dict[int, ParserProcess] = {}
_processes_lock = threading.Lock()


def default_process() -> ParserProcess:
    """The parser of this process; a worker that was forked makes its own."""
    pid = os.getpid()
    with _processes_lock:
        if pid not in _processes:
            _processes.clear()
            _processes[pid] = ParserProcess()
            atexit.register(_processes[pid].close)
        return _processes[pid]
