"""A real `manage.py up` in a folder of its own, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS_TO_START = 300
"""Far more than it takes: other tests, and other work, may hold both cores."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def processes_of(var: Path) -> list[psutil.Process]:
    """All that were started with this WINNOW_VAR, servers and grandchildren included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("WINNOW_VAR") == str(var) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def wait_until_gone(var: Path, seconds: float) -> list[str]:
    """What still runs after so long."""
    until = time.monotonic() + seconds
    while (left := processes_of(var)) and time.monotonic() < until:
        time.sleep(0.1)
    return [" ".join(process.cmdline()) for process in left if process.is_running()]


class Up:
    def __init__(self, var: Path, **environ: str) -> None:
        self.var, self.port = var, int(environ.get("PORT", free_port()))
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**kept, "WINNOW_VAR": str(var), "PORT": str(self.port), "EXAMPLE": "0", **environ}, start_new_session=True,
        )  # fmt: skip
        self.said = ""
        self.began = 0.0
        """When it said that it was up, for who wants to know."""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        until = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < until:
            line = self.process.stdout.readline()
            self.said += line
            if found := re.search(pattern, line):
                return found
            if not line:
                break
        raise AssertionError(f"{pattern!r} was not said:\n{self.said}")

    def get(self, path: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            status: int = answer.status
            return status

    def outcome(self) -> tuple[int, str]:
        """Wait for the end: exit status, and all that was said."""
        out, _ = self.process.communicate(timeout=SECONDS_TO_START)
        return self.process.returncode, self.said + out

    def stop(self, sig: int = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(sig)
        return self.outcome()
