"""The child that reads files: `python -m knowledge.ingestion.parser_child`. Free of Django.

Before the first file it gives up what a parser does not need: the network (a namespace of its own where the kernel
allows it, an audit hook otherwise), other programs, writing files, and more than its share of memory.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from plugins.contracts import ParsedDocument, ParseError

HEADER = struct.Struct(">I")
MEMORY_BYTES = 1536 << 20
RECYCLE_RSS_BYTES = 600 << 20
MAX_TEXT = 20_000_000
CLONE_NEWNET = 0x4000_0000
PR_SET_PDEATHSIG = 1
REFUSED_EVENTS = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "ctypes.dlopen")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Answer requests until standard input ends."""
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not write into the protocol
    isolation = _isolate()
    _write(answers, {"isolation": isolation})
    while (request := _read(given)) is not None:
        _write(answers, _answer(request))


def _isolate() -> str:
    """Give up rights; returns how the network is kept away."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    namespace = library.unshare(CLONE_NEWNET) == 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    for module in filter(None, os.environ.get("MAGNET_PARSER_MODULES", "").split(",")):
        importlib.import_module(module)
    _import_parsers()
    sys.addaudithook(_audit)
    return "network namespace and audit hook" if namespace else "audit hook"


def _import_parsers() -> None:
    """The libraries load shared objects, which the audit hook refuses later on."""
    from knowledge.ingestion.parsers import warm

    warm()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what no parser needs. An audit hook cannot be removed again."""
    if event.startswith(REFUSED_EVENTS):
        raise PermissionError(f"{event} is not allowed in the parser.")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        raise PermissionError("Writing files is not allowed in the parser.")


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from knowledge.ingestion.parsers import parser_for

    try:
        document = parser_for(request["media_type"]).parse(Path(request["path"]))
        return {**_plain(document), "recycle": _grown()}
    except ParseError as error:
        return {"error": {"code": error.code, "reason": error.reason}, "recycle": _grown()}
    except MemoryError:
        return _error("out_of_memory", "Reading the file takes more memory than is allowed (1.5 GB).")
    except RecursionError:
        return _error("damaged", "The file is nested too deeply to be read.")
    except Exception as error:  # noqa: BLE001  # a library meets a broken file: reported as the document's reason
        return _error("damaged", f"The file is damaged or not what it seems ({type(error).__name__}).")


def _error(code: str, reason: str) -> dict[str, Any]:
    return {"error": {"code": code, "reason": reason}, "recycle": True}


def _plain(document: ParsedDocument) -> dict[str, Any]:
    """The document as plain JSON, without what PostgreSQL cannot store."""
    blocks = [
        (block.kind.value, text, block.level, block.page) for block in document.blocks if (text := clean(block.text))
    ]
    if not any(text.strip() for _, text, _, _ in blocks):
        raise ParseError("no_text", "The file holds no text.")
    if sum(len(text) for _, text, _, _ in blocks) > MAX_TEXT:
        raise ParseError("too_large", f"The file holds more than {MAX_TEXT:,} characters of text.")
    metadata = {
        str(key)[:63]: clean(value) if isinstance(value, str) else value for key, value in document.metadata.items()
    }
    return {"blocks": blocks, "title": clean(document.title)[:500], "metadata": metadata}


def clean(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL refuses; line ends as newlines."""
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return text.encode("utf-8", "ignore").decode("utf-8").strip("\n")


def _grown() -> bool:
    """Whether this process holds so much memory that a fresh one is better."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * resource.getpagesize() > RECYCLE_RSS_BYTES


def _read(source: BinaryIO) -> dict[str, Any] | None:
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    message: dict[str, Any] = json.loads(source.read(HEADER.unpack(header)[0]))
    return message


def _write(target: BinaryIO, message: dict[str, Any]) -> None:
    body = json.dumps(message, default=str).encode()
    target.write(HEADER.pack(len(body)) + body)
    target.flush()


if __name__ == "__main__":
    main()
