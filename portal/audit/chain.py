"""The hash chain, as arithmetic: each digest covers one event and the digest before it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

START = "0" * 64
"""What stands before the first seal."""


def digest(previous: str, event: Sequence[object]) -> str:
    """sha256 over the digest before and the event's columns; the same event gives the same text whatever the order of its details."""
    text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
