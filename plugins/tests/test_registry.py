"""Plugins are found by name; one that fails is named and leaves nothing behind."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from plugins.contracts import ParsedDocument
from plugins.registry import PluginError, PluginRegistry, Plugins, PluginStatus


class NoteParser:
    version = 1
    media_types = ("text/x-note",)
    extensions = (".note",)

    def __init__(self, name: str = "note") -> None:
        self.name = name

    def parse(self, path: Path) -> ParsedDocument:
        return ParsedDocument(())


@pytest.fixture
def plugin_module(tmp_path, monkeypatch):
    """Writes an importable module and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(source: str) -> str:
        name = f"magnet_test_plugin_{len(names)}"
        names.append(name)
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


GOOD = """
from plugins.tests.test_registry import NoteParser
def register(plugins):
    plugins.parsers.register(NoteParser())
"""


def test_item_is_found_by_its_name():
    registry = PluginRegistry("parser")
    parser = registry.register(NoteParser())

    assert registry.get("note") is parser
    assert registry.names() == ["note"]
    assert list(registry) == [parser]
    assert "note" in registry
    assert len(registry) == 1


def test_taken_name_is_refused():
    registry = PluginRegistry("parser")
    first = registry.register(NoteParser())

    with pytest.raises(PluginError, match="already a parser called 'note'"):
        registry.register(NoteParser())

    assert registry.get("note") is first


def test_unknown_name_is_told_with_the_known_ones():
    registry = PluginRegistry("parser")
    with pytest.raises(PluginError, match=r"No parser is called 'pdf'; known: none\."):
        registry.get("pdf")
    registry.register(NoteParser("b"))
    registry.register(NoteParser("a"))
    with pytest.raises(PluginError, match=r"known: a, b\."):
        registry.get("pdf")


def test_item_without_a_name_is_refused():
    with pytest.raises(PluginError, match="needs a name"):
        PluginRegistry("parser").register(NoteParser(""))


def test_named_module_registers_its_items(plugin_module):
    plugins = Plugins()
    name = plugin_module(GOOD)

    plugins.load([name], installed=())

    assert plugins.parsers.names() == ["note"]
    assert plugins.states[name].status is PluginStatus.LOADED


def test_entry_point_of_a_function_registers_its_items(plugin_module):
    plugins = Plugins()
    module = plugin_module(GOOD)

    plugins.load(installed=[EntryPoint("notes", f"{module}:register", "magnet.plugins")])

    assert plugins.parsers.names() == ["note"]
    assert plugins.states["notes"].status is PluginStatus.LOADED


def test_installed_entry_points_of_the_group_are_read():
    plugins = Plugins()

    plugins.load()

    assert plugins.states == {}  # the project itself installs none


@pytest.mark.parametrize(
    "source, reason",
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "PluginError: A plugin is a function"),
        (GOOD + "    raise ValueError('late')", "ValueError: late"),
    ],
)
def test_plugin_that_raises_is_marked_failed_and_leaves_nothing(plugin_module, source, reason):
    plugins = Plugins()
    bad = plugin_module(source)

    plugins.load([bad, "magnet_test_no_such_module"], installed=())

    assert plugins.states[bad].status is PluginStatus.FAILED
    assert plugins.states[bad].reason.startswith(reason)
    assert plugins.states["magnet_test_no_such_module"].status is PluginStatus.FAILED
    assert plugins.parsers.names() == []


def test_plugin_after_a_failed_one_is_loaded_and_each_only_once(plugin_module):
    plugins = Plugins()
    bad, good = plugin_module("1/0"), plugin_module(GOOD)

    plugins.load([bad, good], installed=())
    plugins.load([good], installed=())

    assert plugins.states[good].status is PluginStatus.LOADED
    assert plugins.parsers.names() == ["note"]


def test_plugin_that_takes_a_name_of_another_registers_nothing_at_all(plugin_module):
    plugins = Plugins()
    mine = plugins.parsers.register(NoteParser())
    clash = plugin_module(GOOD + "    plugins.parsers.register(NoteParser('other'))")

    plugins.load([clash], installed=())

    assert plugins.states[clash].reason == "PluginError: There is already a parser called 'note'."
    assert list(plugins.parsers) == [mine]
