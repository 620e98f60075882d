"""Files that are whole or not there, whoever is killed meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def place(path: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` write a file beside `path`, of this process's own, and put it there in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fill(fresh)
    fresh.replace(path)


def write_text(path: Path, text: str) -> None:
    place(path, lambda fresh: fresh.write_text(text, encoding="utf-8"))
