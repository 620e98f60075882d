"""What `manage.py` sets before Django reads its settings."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = "environment.json"
"""In `var/`: the addresses of a running `up`, readable by its user alone."""


def adopt(environ: MutableMapping[str, str], command: str) -> None:
    """`up` is the one-machine start; any other command that is told of no server finds those of a running `up`."""
    if command == "up":
        environ.setdefault("WINNOW_DEVELOPMENT", "1")
        environ.setdefault("WINNOW_SINGLE_ADMINISTRATOR", "1")
        return
    running = Path(environ.get("WINNOW_VAR") or ROOT / "var") / FILE
    if running.exists():
        for name, value in json.loads(running.read_text()).items():
            environ.setdefault(name, value)
