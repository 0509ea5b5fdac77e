"""The processes of the running platform and the memory they hold."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from magnet.embedded.data_dir import DataDir
from magnet.embedded.postgres import EmbeddedPostgres
from magnet.embedded.valkey import EmbeddedValkey

PARTS = ("web", "worker", "scheduler")


@dataclass(frozen=True)
class ProcessMemory:
    """bytes: the proportional set size (shared pages divided by their users); resident size where there is none."""

    part: str
    pid: int
    bytes: int
    command: str


def platform_memory(data_dir: DataDir) -> list[ProcessMemory]:
    """All processes that belong to this DATA_DIR, by part; empty unless the platform runs."""
    found: dict[int, ProcessMemory] = {}
    for part, process in _processes(data_dir):
        try:
            memory = process.memory_full_info()
            size = getattr(memory, "pss", memory.rss)
            found.setdefault(process.pid, ProcessMemory(part, process.pid, size, " ".join(process.cmdline()).strip()))
        except psutil.Error:
            continue
    return list(found.values()) if any(one.part in PARTS for one in found.values()) else []


def _processes(data_dir: DataDir) -> Iterator[tuple[str, psutil.Process]]:
    for server in (EmbeddedPostgres(data_dir), EmbeddedValkey(data_dir)):
        yield from _family(server.name, server.pid())
    yield from _family("supervisor", _number(data_dir.run / "supervisor.pid"), children=False)
    for part in PARTS:
        yield from _group(part, _number(data_dir.run / f"{part}.pid"))


def _family(part: str, pid: int | None, *, children: bool = True) -> Iterator[tuple[str, psutil.Process]]:
    if pid is None or not psutil.pid_exists(pid):
        return
    process = psutil.Process(pid)
    yield part, process
    for child in process.children(recursive=True) if children else []:
        yield part, child


def _group(part: str, group: int | None) -> Iterator[tuple[str, psutil.Process]]:
    """A part and all that it forked: each part leads a process group."""
    for process in psutil.process_iter() if group else ():
        try:
            if os.getpgid(process.pid) == group:
                yield part, process
        except ProcessLookupError:
            continue


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
