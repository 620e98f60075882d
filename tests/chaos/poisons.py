"""What a picture that ends in POISON and one of KINDS does to the process of its decoder: what a fault in a real decoder would do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

POISON = b"POISON:"
KINDS = ("crash", "abort", "hang", "sleep", "memory", "disk", "leave")


def act(word: str, stem: Path) -> None:
    held: list[bytes] = []
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "abort":
        os.abort()
    if word == "leave":
        os._exit(0)
    while word == "hang":
        pass
    while word == "sleep":
        time.sleep(1)
    while word == "memory":
        held.append(bytes(50_000_000))
    with open(stem.with_suffix(".jpg"), "wb") as file:
        while word == "disk":
            file.write(bytes(50_000_000))
