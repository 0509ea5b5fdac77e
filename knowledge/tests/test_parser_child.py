"""The parts of the child, in this process: answers, cleaning, the audit hook's rules. test_sandbox runs the whole."""

import io
import json
import os
import resource
import sys
from pathlib import Path

import pytest

from knowledge.ingestion.parser_child import HEADER, Limits, _Child, _Guard, _read, _write, clean
from knowledge.tests.hostile_parser import MEDIA_TYPE, HostileParser
from plugins.registry import PLUGINS


@pytest.fixture
def child(monkeypatch):
    """A child's inside, whose share of memory is not that of a long test run; its limit on CPU is taken back."""
    monkeypatch.setitem(PLUGINS.parsers._items, "hostile", HostileParser())
    before = resource.getrlimit(resource.RLIMIT_CPU)
    yield _Child(Limits(cpu_seconds=3600, characters=1000, recycle_bytes=1 << 50), _Guard())
    resource.setrlimit(resource.RLIMIT_CPU, before)


@pytest.fixture
def ask(child, tmp_path):
    def run(deed: str, media_type: str = MEDIA_TYPE) -> dict:
        path = tmp_path / "asked"
        path.write_text(deed)
        return json.loads(child.answer({"path": str(path), "media_type": media_type}))

    return run


def test_document_is_answered_as_plain_json(ask):
    assert ask("# T\n\ntext", "text/markdown") == {
        "blocks": [["heading", "T", 1, None], ["paragraph", "text", None, None]],
        "title": "T",
        "metadata": {},
        "recycle": False,
    }


def test_what_cannot_be_stored_is_cleaned(ask):
    answer = ask("unstorable")

    assert answer["blocks"] == [["paragraph", "abc\nd", None, None], ["code", "  x", None, None]]
    assert (answer["title"], answer["metadata"]) == ("t", {"k": ["v", 1, None, {"n": 2.5}], "p": "/a"})


@pytest.mark.parametrize(
    "deed, code, recycle",
    [
        ("no text", "no_text", False),
        ("junk", "parser_crashed", False),
        ("long", "too_large", False),
        ("raise", "damaged", True),
        ("recurse", "damaged", True),
        ("hunger", "out_of_memory", True),
    ],
)
def test_failures_are_answered_and_doubtful_ones_end_the_child(ask, monkeypatch, deed, code, recycle):
    def hunger() -> None:
        raise MemoryError

    monkeypatch.setitem(HostileParser.parse.__globals__["DEEDS"], "hunger", hunger)

    answer = ask(deed)

    assert (answer["error"]["code"], answer["recycle"]) == (code, recycle)


def test_child_over_its_share_of_memory_asks_to_be_replaced(ask, child):
    child.limits = Limits(recycle_bytes=1)

    assert ask("text", "text/plain")["recycle"] is True


@pytest.mark.parametrize(
    "text, expected", [("a\x00b", "ab"), ("a\r\nb\rc", "a\nb\nc"), ("\ud83dx", "x"), ("\n a \n", " a ")]
)
def test_text_is_cleaned(text, expected):
    assert clean(text) == expected


def test_guard_lets_the_document_and_the_program_be_read():
    guard = _Guard()
    guard.document = "/data/doc.pdf"

    for path in ("/data/doc.pdf", b"/data/doc.pdf", 3, json.__file__, __file__, "/usr/share/x", "/dev/null"):
        guard("open", (path, "r", os.O_RDONLY))
    guard("ctypes.dlopen", (str(Path(sys.prefix) / "lib" / "x.so"),))
    guard("import", ("json",))


@pytest.mark.parametrize(
    "event, arguments",
    [
        ("open", ("/etc/passwd", "r", os.O_RDONLY)),
        ("open", ("/data/other.pdf", "r", os.O_RDONLY)),
        ("open", ("/data/doc.pdf", "w", os.O_WRONLY)),
        ("open", ("/usr/share/../../etc/passwd", "r", os.O_RDONLY)),
        ("open", (Path(__file__).parents[2] / "README.md", "r", os.O_RDONLY)),
        ("ctypes.dlopen", ("/tmp/evil.so",)),
        ("ctypes.dlopen", (None,)),
        ("socket.connect", ()),
        ("subprocess.Popen", ()),
        ("os.system", ("x",)),
        ("os.remove", ("x",)),
    ],
)
def test_guard_refuses_everything_else(event, arguments):
    guard = _Guard()
    guard.document = "/data/doc.pdf"

    with pytest.raises(PermissionError, match="not allowed in the parser"):
        guard(event, arguments)


def test_messages_stand_behind_their_length():
    pipe = io.BytesIO()
    _write(pipe, b'{"a": 1}')

    assert pipe.getvalue() == HEADER.pack(8) + b'{"a": 1}'
    assert _read(io.BytesIO(pipe.getvalue())) == {"a": 1}
    assert _read(io.BytesIO(b"\x00")) is None
