"""What a parser may not do, what becomes of a child that dies, and that the next file gets another."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from knowledge.ingestion.parser_child import Limits
from knowledge.ingestion.sandbox import ROOT, ParserProcess, default_process
from knowledge.tests.hostile_parser import MEDIA_TYPE
from plugins.contracts import Block, BlockKind, ParsedDocument, ParseError

PLUGIN = "knowledge.tests.hostile_parser"


@pytest.fixture(scope="module")
def parser():
    process = ParserProcess(wall_seconds=20, plugins=[PLUGIN])
    yield process
    process.close()


@pytest.fixture
def asked(tmp_path):
    """A file that asks the hostile parser for something."""

    def write(deed: str) -> Path:
        path = tmp_path / "asked.hostile"
        path.write_text(deed)
        return path

    return write


def refusal(process: ParserProcess, path: Path, media_type: str = MEDIA_TYPE) -> tuple[str, str]:
    with pytest.raises(ParseError) as caught:
        process.parse(path, media_type)
    return caught.value.code, caught.value.reason


def text_of(document: ParsedDocument) -> str:
    return "\n\n".join(block.text for block in document.blocks)


def test_document_comes_back_as_it_was_parsed(parser, tmp_path):
    path = tmp_path / "a.md"
    path.write_text("# Leave\n\n“30 days” [see](https://a.example/?x=1&y=2)\n")

    document = parser.parse(path, "text/markdown")

    assert document.title == "Leave"
    assert document.blocks == (
        Block(BlockKind.HEADING, "Leave", level=1),
        Block(BlockKind.PARAGRAPH, "“30 days” [see](https://a.example/?x=1&y=2)"),
    )


@pytest.mark.parametrize(
    "deed, how", [("segfault", "segmentation fault"), ("abort", "it aborted"), ("leave", "exit code 3")]
)
def test_crash_is_told_and_the_next_file_is_read(parser, asked, deed, how):
    reason = f"The program that reads this kind of file crashed on it ({how})."
    assert refusal(parser, asked(deed)) == ("parser_crashed", reason)

    assert text_of(parser.parse(asked("process"), MEDIA_TYPE)) == str(parser.pid)


@pytest.mark.parametrize("deed", ["connect", "run", "write", "read", "remove", "load"])
def test_parser_may_not_reach_anything_but_its_file(parser, asked, deed):
    code, reason = refusal(parser, asked(deed))

    assert (code, reason) == ("damaged", "The file is damaged or not what it seems (PermissionError).")
    assert not Path("/tmp/magnet-hostile-parser").exists()


def test_endless_sleep_ends_at_the_deadline(asked):
    process = ParserProcess(wall_seconds=1, plugins=[PLUGIN])
    process.isolation()
    begin = time.monotonic()

    answer = refusal(process, asked("sleep"))

    assert answer == ("timeout", "Reading the file took longer than the 1 s that are allowed.")
    assert time.monotonic() - begin < 5
    assert process.pid is None


def test_endless_work_ends_at_the_cpu_limit(asked):
    process = ParserProcess(wall_seconds=30, limits=Limits(cpu_seconds=1), plugins=[PLUGIN])

    assert refusal(process, asked("burn")) == (
        "timeout",
        "Reading the file took more than the 1 s of CPU that are allowed.",
    )


def test_memory_error_is_told(parser, asked):
    assert refusal(parser, asked("too much")) == (
        "out_of_memory",
        "Reading the file takes more memory than the 1536 MB that are allowed.",
    )


def test_death_from_hunger_is_not_called_a_crash(asked):
    process = ParserProcess(limits=Limits(memory_bytes=300 << 20), plugins=[PLUGIN])

    code, reason = refusal(process, asked("starve"))

    assert code == "out_of_memory"
    assert "300 MB are allowed" in reason


@pytest.mark.parametrize(
    "deed, code, reason",
    [
        ("recurse", "damaged", "The file is nested too deeply to be read."),
        ("raise", "damaged", "The file is damaged or not what it seems (KeyError)."),
        ("junk", "parser_crashed", "The parser returned something that is not a document."),
        ("no text", "no_text", "The file holds no text."),
    ],
)
def test_what_a_parser_does_wrong_is_told(parser, asked, deed, code, reason):
    assert refusal(parser, asked(deed)) == (code, reason)


def test_text_over_the_limit_is_refused(asked):
    process = ParserProcess(limits=Limits(characters=1_000_000), plugins=[PLUGIN])

    assert refusal(process, asked("long")) == ("too_large", "The file holds more than 1,000,000 characters of text.")
    process.close()


def test_file_over_the_limit_is_not_even_opened(tmp_path):
    process = ParserProcess(max_file_bytes=1 << 20)
    path = tmp_path / "large.txt"
    path.write_bytes(b"x" * ((2 << 20) + 1))

    answer = refusal(process, path, "text/plain")

    assert answer == ("too_large", "The file has 2 MB; at most 1 MB are read.")
    assert process.pid is None


def test_characters_that_the_database_refuses_are_removed(parser, asked):
    document = parser.parse(asked("unstorable"), MEDIA_TYPE)

    assert [block.text for block in document.blocks] == ["abc\nd", "  x"]
    assert document.title == "t"
    assert document.metadata == {"k": ["v", 1, None, {"n": 2.5}], "p": "/a"}


def test_environment_is_not_handed_on(parser, asked, monkeypatch):
    monkeypatch.setenv("MAGNET_SECRET_FOR_TEST", "x")
    parser.close()

    names = text_of(parser.parse(asked("environment"), MEDIA_TYPE)).split("\n")

    assert set(names) == {"LC_ALL", "OPENBLAS_NUM_THREADS", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TZ"}


def test_child_is_kept_and_replaced_after_its_share_of_files(asked):
    process = ParserProcess(files_per_child=2, plugins=[PLUGIN])

    pids = [text_of(process.parse(asked("process"), MEDIA_TYPE)) for _ in range(4)]

    assert pids[0] == pids[1] != pids[2] == pids[3]
    process.close()


def test_child_that_grew_is_replaced(asked):
    process = ParserProcess(limits=Limits(recycle_bytes=64 << 20), plugins=[PLUGIN])

    first, second = (text_of(process.parse(asked("grow"), MEDIA_TYPE)) for _ in range(2))

    assert first != second
    process.close()


def test_child_killed_between_two_files_is_replaced_unnoticed(parser, asked):
    parser.isolation()
    os.kill(parser.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(parser.pid)], timeout=0.2)

    assert text_of(parser.parse(asked("process"), MEDIA_TYPE)) == str(parser.pid)


def test_threads_share_a_child(parser, tmp_path):
    results: list[str] = []

    def parse(number: int) -> None:
        path = tmp_path / f"{number}.txt"
        path.write_text(f"text {number}")
        results.append(text_of(parser.parse(path, "text/plain")))

    threads = [threading.Thread(target=parse, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [f"text {number}" for number in range(8)]


def test_unknown_media_type_is_told(parser, asked):
    assert refusal(parser, asked("process"), "image/png") == ("type_mismatch", "There is no parser for image/png.")


def test_isolation_says_what_keeps_the_network_away(parser):
    assert parser.isolation() in {"network namespace and audit hook", "audit hook"}


def test_child_that_does_not_start_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))

    assert ParserProcess().isolation() == "the parser child does not start"
    with pytest.raises(ParseError) as caught:
        ParserProcess().parse(Path(__file__), "text/plain")
    assert caught.value.code == "parser_crashed"


def test_each_process_has_one_parser():
    process = default_process()

    assert default_process() is process
    process.close()


def test_child_ends_when_its_parent_is_killed(tmp_path):
    code = (
        "from knowledge.ingestion.sandbox import ParserProcess; import time; p = ParserProcess(); p.isolation();"
        "print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()

    assert psutil.wait_procs([child], timeout=5)[1] == []


def test_child_and_sandbox_need_no_django():
    code = (
        "import sys, knowledge.ingestion.sandbox, knowledge.ingestion.media_types;"
        "heavy = {'django', 'numpy', 'pypdfium2', 'docx', 'pptx', 'openpyxl', 'selectolax', 'markdown_it', 'lxml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
