"""Where items come from. The built-in connector reads files and folders of this machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.exceptions import NotFound
from plugins.contracts import SourceItem

FILES = "files"


@dataclass(frozen=True)
class FilesConfig:
    """Files, and folders that are read with all below them."""

    paths: tuple[Path, ...]


class FilesConnector:
    """Items are files; their names below the given path are their external ids. Hidden ones are left out."""

    name = FILES
    config_schema = FilesConfig

    def items(self, config: FilesConfig) -> Sequence[SourceItem]:
        """Raises NotFound for a path that does not exist."""
        return [item for path in config.paths for item in _below(path)]


def _below(root: Path) -> Iterator[SourceItem]:
    if not root.exists():
        raise NotFound(f"There is no file or folder {root}.")
    if root.is_file():
        yield SourceItem(root.name, root.stem, root)
        return
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield SourceItem(relative.as_posix(), path.stem, path)
