"""The folder `var/` and the port: taken for one run, with words for the person who meets a taken one."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import time
from pathlib import Path

from portal.embedded.processes import StartFailed

MIN_FREE_BYTES = 1_000_000_000
_ENDING_SECONDS = 20
"""How long the leftovers of a killed run may take to end (portal.embedded.processes.Keeper)."""


def prepare_folder(var: Path) -> None:
    """Make `var` and see that it can be written to and has room."""
    try:
        var.mkdir(parents=True, exist_ok=True)
        probe = var / f".probe-{os.getpid()}"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise StartFailed(f"Cannot write to {var}: {error.strerror}. Set WINNOW_VAR to a folder that can be written to.") from error
    free = shutil.disk_usage(var).free
    if free < MIN_FREE_BYTES:
        raise StartFailed(
            f"Only {free / 1e9:.1f} GB are free where {var} lies, and {MIN_FREE_BYTES / 1e9:.0f} GB are needed to start. "
            "Free some space, or set WINNOW_VAR to a folder on another disk."
        )


def lock_folder(var: Path) -> int:
    """Hold `var` until we end, and return the lock's descriptor. The kernel drops it with us: no stale lock can block a start."""
    lock = os.open(var / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _ENDING_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            _complain_of(os.pread(lock, 200, 0).decode(), var, last=time.monotonic() > until)
            time.sleep(0.2)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _complain_of(holder: str, var: Path, *, last: bool) -> None:
    """Raise if the holder lives; a dead one's leftovers are given time to end."""
    pid, _, address = holder.strip().partition(" ")
    lives = pid.isdigit() and Path(f"/proc/{pid}").exists()
    if lives or last:
        where = f" at {address}" if address else ""
        raise StartFailed(
            f"Winnow is already running on {var}{where} (process {pid or 'unknown'}). Stop it there with Ctrl-C, or with `kill {pid}`; "
            "or set WINNOW_VAR to another folder and PORT to another port for a second one."
        )


def note_address(lock: int, address: str) -> None:
    """For whoever meets the lock."""
    os.pwrite(lock, f"{os.getpid()} {address}\n".encode(), 0)


def take_port(port: int) -> socket.socket:
    """A bound socket, held from the first moment to the last, so that nobody takes the port while we start or restart."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OverflowError as error:
        raise StartFailed(f"PORT={port} is not a port: choose a number from 1024 to 65535.") from error
    except PermissionError as error:
        raise StartFailed(f"Port {port} needs more rights than we have: choose one from 1024 to 65535, e.g. PORT=8000.") from error
    except OSError as error:
        raise StartFailed(f"Port {port} is taken by another program. Choose another one: PORT={port + 1} make run") from error
    return listener


def secret_key(var: Path) -> str:
    """The installation's own, made once."""
    folder = var / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "secret_key"
    if not path.exists():
        new = folder / "secret_key.new"
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(60))
        new.rename(path)
    return path.read_text()
