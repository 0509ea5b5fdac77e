"""Plugins named in MAGNET_PLUGINS, in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

from magnet.environment import BASE_DIR
from magnet.tests.platform import clean_environment

GOOD = """
from plugins.contracts import Block, BlockKind, ParsedDocument

class NotesParser:
    name, version = "notes", 1
    media_types, extensions = frozenset({"text/x-notes"}), frozenset({".notes"})
    def parse(self, path):
        return ParsedDocument((Block(BlockKind.PARAGRAPH, path.read_text()[::-1]),))

class Vendor:
    name, title = "acme", "Acme"
    def __call__(self, endpoint):
        raise RuntimeError("not here")

def register(plugins):
    plugins.parsers.register(NotesParser())
    plugins.providers.register(Vendor())
"""
SHOW = """
import json, pathlib, sys
import django
django.setup()
from core.doctor import examine
from knowledge.ingestion.sandbox import default_process
from llm.choices import provider_types
file = pathlib.Path(sys.argv[1])
parsed = default_process().parse(file, "text/x-notes")
print(json.dumps({
    "types": [name for name, _ in provider_types()],
    "text": parsed.blocks[0].text,
    "plugins": [[f.subject, f.level, f.detail] for f in examine() if f.subject.startswith("Plugin")],
}))
"""


def test_named_plugins_work_in_every_process_and_a_broken_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "good_plugin.py").write_text(GOOD)
    (tmp_path / "bad_plugin.py").write_text("raise RuntimeError('no licence')")
    (tmp_path / "a.notes").write_text("abc")

    answer = subprocess.run(
        [sys.executable, "-c", SHOW, str(tmp_path / "a.notes")],
        cwd=BASE_DIR,
        env=clean_environment(
            DATA_DIR=str(tmp_path / "data"),
            DJANGO_SETTINGS_MODULE="magnet.settings",
            PYTHONPATH=str(tmp_path),
            MAGNET_PLUGINS="good_plugin, bad_plugin",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout.splitlines()[-1])
    assert told["types"][:2] == ["local", "openai"]
    assert told["types"][-1] == "acme"
    assert told["text"] == "cba"
    assert told["plugins"] == [
        ["Plugin good_plugin", "ok", "loaded"],
        ["Plugin bad_plugin", "warning", "RuntimeError: no licence"],
    ]
