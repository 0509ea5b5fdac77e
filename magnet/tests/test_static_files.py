"""Production's static files: gathered once, and again when they change."""

import json
from pathlib import Path
from typing import Any

import pytest

from magnet.static_files import collect_when_changed


@pytest.fixture
def source(settings: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "page.css").write_text("a { color: red }")
    settings.STATICFILES_DIRS = [folder]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "gathered"
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }
    return folder


def names(settings: Any) -> dict[str, str]:
    return json.loads((settings.STATIC_ROOT / "staticfiles.json").read_text())["paths"]


def test_files_are_gathered_under_names_with_their_hash(source: Path, settings: Any) -> None:
    assert collect_when_changed() is True

    gathered = settings.STATIC_ROOT / names(settings)["page.css"]
    assert gathered.read_text() == "a { color: red }"
    assert gathered.name != "page.css"
    assert collect_when_changed() is False


def test_changed_new_and_removed_files_are_gathered_again(source: Path, settings: Any) -> None:
    collect_when_changed()
    (source / "page.css").write_text("a { color: blue; }")
    (source / "new.css").write_text("b {}")

    assert collect_when_changed() is True
    assert (settings.STATIC_ROOT / names(settings)["page.css"]).read_text() == "a { color: blue; }"
    (source / "new.css").unlink()
    assert collect_when_changed() is True
    assert set(names(settings)) == {"page.css"}


def test_profiles_that_serve_files_from_where_they_lie_gather_none(settings: Any) -> None:
    settings.STATIC_ROOT = None

    assert collect_when_changed() is False
