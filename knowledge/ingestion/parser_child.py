"""The child that reads files: `python -m knowledge.ingestion.parser_child CONFIG`. Free of Django.

Before the first file it gives up what a parser does not need: the network (a namespace of its own where the kernel
allows it, the audit hook otherwise), other programs, changing files, reading files that are neither its own program nor
the document, and more than its share of memory and time. Parsers load their libraries at their first file.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from knowledge.ingestion.parsers import parser_for
from plugins.contracts import ParsedDocument, ParseError
from plugins.registry import PLUGINS

HEADER = struct.Struct(">I")
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
OPEN_FILES = 128
REFUSED_EVENTS = (
    "socket.", "subprocess.", "shutil.", "ftplib.", "smtplib.", "urllib.", "os.exec", "os.fork", "os.posix_spawn",
    "os.spawn", "os.system", "os.kill", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
    "os.chmod", "os.chown", "os.truncate", "signal.pthread_kill",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PROGRAM = (".py", ".pyc", ".so")
SYSTEM_FILES = ("/usr/share/", "/usr/lib/", "/usr/lib64/", "/lib/", "/lib64/", "/etc/mime.types", "/dev/null")
OWN_MEMORY = "/proc/self/statm"


@dataclass(frozen=True)
class Limits:
    """What a child may use. memory_bytes: address space; recycle_bytes: resident memory that it may keep after a file;
    cpu_seconds: of one file; characters: of one document."""

    memory_bytes: int = 1536 << 20
    recycle_bytes: int = 600 << 20
    cpu_seconds: int = 120
    characters: int = 20_000_000


class _Guard:
    """The audit hook: refuses what no parser needs. It cannot be removed again."""

    def __init__(self) -> None:
        self.document = ""
        self.installed = _folders(sys.prefix, sys.base_prefix, sys.exec_prefix)
        self.importable = _folders(*sys.path)  # the project's own folder, which may hold uploads too

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._opening(*arguments)
        elif event == "ctypes.dlopen":
            if not self._is_program(str(arguments[0])):
                raise PermissionError("Loading this library is not allowed in the parser.")
        elif event.startswith(REFUSED_EVENTS):
            raise PermissionError(f"{event} is not allowed in the parser.")

    def _opening(self, path: Any, _mode: Any, flags: Any) -> None:
        if isinstance(flags, int) and flags & WRITING:
            raise PermissionError("Writing files is not allowed in the parser.")
        if isinstance(path, int):
            return
        name = os.fsdecode(path)
        if name not in {self.document, OWN_MEMORY} and not self._is_program(name):
            raise PermissionError("Reading other files is not allowed in the parser.")

    def _is_program(self, name: str) -> bool:
        real = os.path.realpath(name)
        is_code = real.startswith(self.importable) and real.endswith(PROGRAM)
        return is_code or real.startswith(self.installed) or real.startswith(SYSTEM_FILES)


def _folders(*names: str) -> tuple[str, ...]:
    return tuple(os.path.realpath(name) + os.sep for name in names)


class _Child:
    """Answers requests, one at a time."""

    def __init__(self, limits: Limits, guard: _Guard) -> None:
        self.limits = limits
        self.guard = guard

    def answer(self, request: dict[str, Any]) -> bytes:
        """The document or the reason, as JSON in UTF-8."""
        self._allow_cpu()
        self.guard.document = request["path"]
        try:
            document = parser_for(request["media_type"]).parse(Path(request["path"]))
            return _encoded({**self._plain(document), "recycle": self._grown()})
        except ParseError as error:
            return _error(error.code, error.reason, recycle=self._grown())
        except MemoryError:
            allowed = self.limits.memory_bytes >> 20
            return _error(
                "out_of_memory", f"Reading the file takes more memory than the {allowed} MB that are allowed."
            )
        except RecursionError:
            return _error("damaged", "The file is nested too deeply to be read.")
        except Exception as error:  # noqa: BLE001  # a library meets a broken file: reported as the document's reason
            return _error("damaged", f"The file is damaged or not what it seems ({type(error).__name__}).")

    def _plain(self, document: ParsedDocument) -> dict[str, Any]:
        """The document as plain JSON, without what PostgreSQL cannot store."""
        if not isinstance(document, ParsedDocument):
            raise ParseError("parser_crashed", "The parser returned something that is not a document.")
        blocks = [(block.kind.value, clean(block.text), block.level, block.page) for block in document.blocks]
        if not any(text and not text.isspace() for _, text, _, _ in blocks):
            raise ParseError("no_text", "The file holds no text.")
        if sum(len(text) for _, text, _, _ in blocks) > self.limits.characters:
            raise ParseError("too_large", f"The file holds more than {self.limits.characters:,} characters of text.")
        return {
            "blocks": [block for block in blocks if block[1]],
            "title": clean(document.title)[:500],
            "metadata": _clean_values(dict(document.metadata)),
        }

    def _allow_cpu(self) -> None:
        """Kill this process when the next file takes too much time, even inside a library."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + self.limits.cpu_seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))

    def _grown(self) -> bool:
        """Whether this process holds so much memory that a fresh one is better."""
        try:
            pages = int(Path(OWN_MEMORY).read_text().split()[1])
        except OSError:  # no procfs here
            return False
        return pages * resource.getpagesize() > self.limits.recycle_bytes


def main() -> None:
    """Answer requests until standard input ends."""
    config = json.loads(sys.argv[1])
    limits = Limits(**config["limits"])
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not write into the protocol
    isolation = _isolate(limits, die_with_parent=config["die_with_parent"])
    PLUGINS.load(config["plugins"])
    guard = _Guard()
    sys.addaudithook(guard)
    child = _Child(limits, guard)
    _write(answers, _encoded({"isolation": isolation}))
    while (request := _read(given)) is not None:
        _write(answers, child.answer(request))


def _isolate(limits: Limits, *, die_with_parent: bool) -> str:
    """Give up rights; returns how the network is kept away."""
    library = ctypes.CDLL(None, use_errno=True)
    namespace = library.unshare(CLONE_NEWNET) == 0 or library.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0
    library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if die_with_parent:
        library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for kind, limit in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        resource.setrlimit(kind, (limit, limit))
    return "network namespace and audit hook" if namespace else "audit hook"


def clean(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL refuses; line ends as newlines."""
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "ignore").decode("utf-8").strip("\n")


def _clean_values(value: Any) -> Any:
    """Metadata as JSON values, cleaned as text is."""
    if isinstance(value, dict):
        return {clean(str(key))[:63]: _clean_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_values(inner) for inner in value]
    return value if value is None or isinstance(value, int | float | bool) else clean(str(value))


def _error(code: str, reason: str, *, recycle: bool = True) -> bytes:
    return _encoded({"error": {"code": code, "reason": clean(reason)}, "recycle": recycle})


def _encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, allow_nan=True).encode()


def _read(source: BinaryIO) -> dict[str, Any] | None:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    message: dict[str, Any] = json.loads(source.read(HEADER.unpack(header)[0]))
    return message


def _write(target: BinaryIO, body: bytes) -> None:
    target.write(HEADER.pack(len(body)) + body)
    target.flush()


if __name__ == "__main__":
    main()
