"""What is plugged in: parsers, chunkers, connectors and providers by name, built in or from installed packages.

A package plugs in with an entry point of the group `magnet.plugins`, or by being named in MAGNET_PLUGINS. Either leads
to a function `register(plugins: Plugins) -> None`, or to a module that has one. A plugin that raises is marked failed,
leaves nothing behind, and the platform goes on without it.
"""

import importlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from plugins.contracts import Chunker, Connector, Endpoint, Parser, Provider

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "magnet.plugins"


class ProviderFactory(Protocol):
    """Connects to a vendor. `name` is the provider type that people choose, `title` what they read."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def __call__(self, endpoint: Endpoint) -> Provider: ...


T = TypeVar("T")


class PluginError(Exception):
    """A name is taken, missing or unknown. The message says which."""


class PluginRegistry(Generic[T]):
    """The plugins of one kind, in the order of their registration. Each item has a `name` that is unique."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, item: T) -> T:
        """Add an item under its name; PluginError when it has none or the name is taken."""
        name = getattr(item, "name", "")
        if not isinstance(name, str) or not name:
            raise PluginError(f"A {self.kind} needs a name.")
        if name in self._items:
            raise PluginError(f"There is already a {self.kind} called {name!r}.")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """The item of that name; PluginError names those that exist."""
        if name not in self._items:
            known = ", ".join(sorted(self._items)) or "none"
            raise PluginError(f"No {self.kind} is called {name!r}; known: {known}.")
        return self._items[name]

    def names(self) -> list[str]:
        return list(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items.values())

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __len__(self) -> int:
        return len(self._items)


class PluginStatus(StrEnum):
    LOADED = "loaded"
    FAILED = "failed"


@dataclass(frozen=True)
class PluginState:
    """How loading a plugin went. reason: why it failed, for an operator."""

    name: str
    status: PluginStatus
    reason: str = ""


@dataclass
class Plugins:
    """Everything that is plugged in, and how each plugin fared."""

    parsers: PluginRegistry[Parser] = field(default_factory=lambda: PluginRegistry("parser"))
    chunkers: PluginRegistry[Chunker] = field(default_factory=lambda: PluginRegistry("chunker"))
    connectors: PluginRegistry[Connector] = field(default_factory=lambda: PluginRegistry("connector"))
    providers: PluginRegistry[ProviderFactory] = field(default_factory=lambda: PluginRegistry("provider"))
    states: dict[str, PluginState] = field(default_factory=dict)

    def load(self, modules: Iterable[str] = (), installed: Iterable[EntryPoint] | None = None) -> None:
        """Load installed entry points, then the named modules. Never raises; `states` tells. Each is loaded once.

        installed: entry points to load; those of the group `magnet.plugins` by default.
        """
        for point in entry_points(group=ENTRY_POINT_GROUP) if installed is None else installed:
            self._load_one(point.name, point.load)
        for module in modules:
            self._load_one(module, partial(importlib.import_module, module))

    def _load_one(self, name: str, find: Callable[[], object]) -> None:
        if name in self.states:
            return
        try:
            self._merge(_staged(find()))
        except (Exception, SystemExit) as error:  # foreign code may raise anything; it is recorded
            logger.exception("plugin %s failed to load", name)
            self.states[name] = PluginState(name, PluginStatus.FAILED, f"{type(error).__name__}: {error}")
        else:
            self.states[name] = PluginState(name, PluginStatus.LOADED)

    def _merge(self, staged: "Plugins") -> None:
        """Take over all of a plugin's items, or none."""
        pairs = list(zip(self._registries(), staged._registries(), strict=True))
        for mine, theirs in pairs:
            taken = [name for name in theirs.names() if name in mine]
            if taken:
                raise PluginError(f"There is already a {mine.kind} called {taken[0]!r}.")
        for mine, theirs in pairs:
            for item in theirs:
                mine.register(item)

    def _registries(self) -> tuple[PluginRegistry[Any], ...]:
        return (self.parsers, self.chunkers, self.connectors, self.providers)


def _staged(found: object) -> Plugins:
    """What a plugin registers, apart from all others."""
    register = found if callable(found) else getattr(found, "register", None)
    if not callable(register):
        raise PluginError("A plugin is a function `register(plugins)`, or a module that has one.")
    staged = Plugins()
    register(staged)
    return staged


PLUGINS = Plugins()
"""The platform's own. Apps register their built-ins when they are imported; `PLUGINS.load()` adds the installed."""
