"""The names of timm's networks in a file (`backbones.txt`), so that a slip is told where timm is not: the web process has no torch."""

from __future__ import annotations

import difflib
from pathlib import Path

from training.types import TrainingRefused

NAMES = Path(__file__).with_name("backbones.txt")


def refuse_unknown(name: str) -> None:
    """Raise TrainingRefused for what is no network of timm, with the names nearest to it. Names with a tag after a point are none."""
    known = NAMES.read_text(encoding="utf-8").split()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise TrainingRefused(f"timm knows no backbone {name!r}" + (f"; near it are {', '.join(near)}." if near else "."))
