"""What of a folder is sent: every file but hidden ones, links, and tables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TABLES = (".csv", ".tsv", ".txt", ".xlsx")
_NOT_MEANT = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True)
class Item:
    """One file. `mark` changes when the file does, so that a changed one is not continued."""

    path: Path
    name: str
    size: int
    mark: str


def items(folder: Path) -> tuple[list[Item], list[str]]:
    """The files to send, by name with their folders, and the names of those left out."""
    found, left = [], []
    for path in sorted(_walk(folder)):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file() or path.suffix.lower() in _TABLES:
            left.append(name)
        else:
            about = path.stat()
            found.append(Item(path, name, about.st_size, f"{about.st_size}-{about.st_mtime_ns // 1_000_000}"))
    return found, left


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _meant(name)]
        yield from (Path(here, name) for name in files if _meant(name))


def _meant(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_MEANT
