"""A plugin for tests: its parser does what the file says, the worst included. Runs in the parser child only."""

import ctypes
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from plugins.contracts import Block, BlockKind, ParsedDocument
from plugins.registry import Plugins

MEDIA_TYPE = "application/x-hostile"
_kept: list[bytearray] = []


def _document(text: str) -> ParsedDocument:
    return ParsedDocument((Block(BlockKind.PARAGRAPH, text),))


def _segfault() -> None:
    ctypes.string_at(0)


def _burn() -> None:
    while True:
        pass


def _starve() -> None:
    """Dies as a C library does that gets no memory."""
    try:
        while True:
            _kept.append(bytearray(b"x" * (8 << 20)))
    except MemoryError:
        os.abort()


def _recurse(depth: int = 0) -> None:
    _recurse(depth + 1)


def _connect() -> None:
    socket.create_connection(("127.0.0.1", 9))


def _write() -> None:
    Path("/tmp/magnet-hostile-parser").write_text("written")


DEEDS = {
    "segfault": _segfault,
    "abort": os.abort,
    "leave": lambda: os._exit(3),
    "sleep": lambda: time.sleep(60),
    "burn": _burn,
    "starve": _starve,
    "too much": lambda: bytearray(8 << 30),
    "recurse": _recurse,
    "connect": _connect,
    "run": lambda: subprocess.run(["true"], check=True),
    "write": _write,
    "read": lambda: Path("/etc/passwd").read_text(),
    "remove": lambda: Path("/tmp/magnet-hostile-parser").unlink(),
    "load": lambda: ctypes.CDLL("/tmp/magnet-hostile.so"),
    "raise": lambda: {}["missing"],
}
RESULTS = {
    "junk": lambda: 5,
    "no text": lambda: _document(" \n\x00"),
    "long": lambda: _document("x" * 2_000_000),
    "unstorable": lambda: ParsedDocument(
        (Block(BlockKind.PARAGRAPH, "a\x00b\ud800c\r\nd"), Block(BlockKind.CODE, "\n  x\n")),
        "t\x00",
        {"k\x00": ["v\x00", 1, None, {"n": 2.5}], "p": Path("/a")},
    ),
    "environment": lambda: _document("\n".join(sorted(os.environ))),
    "process": lambda: _document(str(os.getpid())),
    "grow": lambda: (_kept.append(bytearray(b"x" * (64 << 20))), _document(str(os.getpid())))[1],
}


class HostileParser:
    name = "hostile"
    version = 1
    media_types = (MEDIA_TYPE,)
    extensions = (".hostile",)

    def parse(self, path: Path) -> ParsedDocument:
        sys.stdout.write("noise among the answers")
        sys.stdout.flush()
        deed = path.read_text()
        if deed in DEEDS:
            DEEDS[deed]()
            return _document("done")
        return RESULTS[deed]()


def register(plugins: Plugins) -> None:
    plugins.parsers.register(HostileParser())
