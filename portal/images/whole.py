"""Was a picture written to its end? A disk that fills up takes the beginning of a write and says nothing; Pillow does not ask how much."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""How a JPEG and a PNG of our own writing begin and end."""


def require_whole(path: Path) -> None:
    """Raises OSError (no space left) where the picture that was just written there lacks its end."""
    with open(path, "rb") as file:
        end = _ENDS.get(file.read(2))
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 8))
        if end is None or not file.read().endswith(end):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_all(descriptor: int, data: bytes) -> None:
    """Every byte, or OSError: a full disk takes the beginning and says so only at the next write."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
