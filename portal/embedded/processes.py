"""Child processes that never outlive their parent, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO

_PR_SET_PDEATHSIG = 1


class StartFailed(RuntimeError):
    """Something did not start; the message says why and what to do."""


def die_with_parent(sig: int = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn` after which the kernel sends `sig` to the child when its parent dies (Linux; elsewhere nothing).

    The kernel means the thread that started the child: start from the main thread.
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    parent = os.getpid()

    def tie() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, sig)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return tie


def end(process: subprocess.Popen[bytes] | None, sig: int, *, patience: float = 20) -> None:
    """Ask a process to end, wait, then insist."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def kill_group(pgid: int) -> None:
    """SIGKILL what is left of a process group."""
    try:
        os.killpg(pgid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class Keeper:
    """A small process that outlives us by seconds, to end the grandchildren which the kernel's signal does not reach.

    It reads the process groups from a pipe that closes when we die. `held` are descriptors (the lock on var/) that it keeps open
    until its work is done, so that the next start waits for the end of this one.
    """

    def __init__(self, *held: int) -> None:
        read, write = os.pipe()
        self.pipe: IO[str] = os.fdopen(write, "w", buffering=1)
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _KEEPER], stdin=read, stdout=subprocess.DEVNULL, start_new_session=True, pass_fds=held
        )
        os.close(read)

    def watch(self, pgid: int) -> None:
        self.pipe.write(f"+{pgid}\n")

    def forget(self, pgid: int) -> None:
        self.pipe.write(f"-{pgid}\n")

    def close(self) -> None:
        self.pipe.close()
        self.process.wait()


_KEEPER = """
import os, signal, sys, time
for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(sig, signal.SIG_IGN)
groups = {}
for line in sys.stdin:
    (groups.setdefault if line[0] == "+" else groups.pop)(int(line[1:]), None)
def alive(pgid):
    try:
        os.killpg(pgid, 0)
    except OSError:
        return False
    return True
def tell(sig):
    for pgid in groups:
        try:
            os.killpg(pgid, sig)
        except OSError:
            pass
if groups:
    tell(signal.SIGINT)  # what Postgres calls a fast shutdown
    end = time.monotonic() + 5
    while time.monotonic() < end and any(map(alive, groups)):
        time.sleep(0.05)
    tell(signal.SIGKILL)
"""
