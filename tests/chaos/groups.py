"""Worker groups and senders as process groups that can be killed whole, and are started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from portal.embedded.processes import die_with_parent
from portal.pipeline import commands

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Group:
    """One process group. `finite`: its own good end is an end; all others are started again."""

    name: str
    command: list[str]
    env: Mapping[str, str]
    log: Path
    finite: bool = False
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    finished: bool = field(default=False)

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self.starts += 1

    def keep_up(self) -> None:
        """Start again what has died, as an init system does."""
        if self.finished or self.process is None or self.process.poll() is None:
            return
        if self.finite and self.process.returncode == 0:
            self.finished = True
            return
        self.kill()
        self.start()

    def kill(self) -> None:
        """kill -9 for the whole group, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def holds(self, pid: int) -> bool:
        """Whether the process is of this group."""
        try:
            return self.process is not None and os.getpgid(pid) == self.process.pid
        except ProcessLookupError:
            return False


def workers(folder: Path, env: Mapping[str, str]) -> list[Group]:
    """Two io groups and one gpu group; the beat is apart."""
    roles = {"io1": commands.io(processes=1), "io2": commands.io(processes=1), "gpu": commands.solo("gpu")}
    return [Group(name, _toy(argv, name), env, folder / f"{name}.log") for name, argv in roles.items()]


def beat(folder: Path, env: Mapping[str, str]) -> Group:
    return Group("beat", _toy(commands.beat(), "beat"), env, folder / "beat.log")


def _toy(argv: list[str], name: str) -> list[str]:
    changed = ["tests.chaos.app" if word == "portal" else word for word in argv]
    changed[changed.index("-n") + 1] = f"{name}@%h"
    return changed
