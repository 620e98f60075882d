"""A child process under limits, for whatever reads a stranger's file. Pure: no Django.

It is forked from a process that never loaded torch. A crash, a memory bomb or an endless loop in a decoder ends the child and becomes
an answer; the parent goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

MEMORY = 1_200_000_000
"""Bytes of address space: 50 megapixels need 596 MB as baseline JPEG and 995 MB as WebP."""
MEMORY_OVER_PARENT = 950_000_000
CPU_SECONDS = 30
"""50 megapixels take 6 at most, whatever the format."""
WALL_SECONDS = 90.0
_FILE = 500_000_000
"""Bytes of a file that a child may write: three for each of 50 million pixels, and room."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if os.uname().sysname == "Linux" else None


@dataclass(frozen=True, slots=True)
class Limits:
    memory: int = MEMORY
    cpu: int = CPU_SECONDS
    wall: float = WALL_SECONDS


def start(task: Callable[[int, int], None], limits: Limits) -> tuple[int, int]:
    """Fork a limited child that runs `task(memory limit, write end of a pipe)`: (its process id, the read end of the pipe)."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        _run(task, write_end, limits)
    os.close(write_end)
    return child, read_end


def reap(child: int, *, patience: float = 0.1) -> int:
    """End the child, however it fares, and collect it: its wait status. After its last word it has `patience` seconds to leave."""
    with contextlib.suppress(ProcessLookupError):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return status
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def address_space(name: str) -> int:
    """Bytes of VmSize or VmPeak of this process; 0 where the system does not say."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith(name)), 0)
    return 0


def _run(task: Callable[[int, int], None], write_end: int, limits: Limits) -> None:
    """Never returns: leaves by `_exit`, so that no handler, buffer or connection of the parent is touched."""
    try:
        task(_restrict(limits), write_end)
    finally:
        os._exit(0)


def _restrict(limits: Limits) -> int:
    """Lower this process's limits for good; returns the memory limit in bytes."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        signal.signal(name, signal.SIG_DFL)
    # what decoders print of a stranger's file does not belong in the log
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    memory = limits.memory if limits.memory != MEMORY else max(MEMORY, address_space("VmSize") + MEMORY_OVER_PARENT)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu, limits.cpu + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return memory
