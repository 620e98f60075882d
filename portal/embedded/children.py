"""The portal's own processes: started, watched, started again when they crash, ended together."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from portal.embedded.processes import Keeper, die_with_parent, kill_group

PATIENCE = 5.0
"""Seconds that a process has to finish what it does; work that is cut short is taken up at the next start."""
_LONGEST_PAUSE = 60.0
_STEADY_SECONDS = 60.0
"""Who lived this long begins again without a pause."""
_KEPT_LOG_BYTES = 20_000_000
_ALARMING = re.compile(rb"\b(ERROR|CRITICAL|FATAL|PANIC)\b")


@dataclass
class Child:
    """One process and its log file. `once`: its end is not a crash."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    pass_fds: tuple[int, ...] = ()
    once: bool = False
    process: subprocess.Popen[bytes] | None = None
    crashes: int = 0
    started: float = 0.0
    retry_at: float | None = None
    _reader: IO[bytes] | None = field(default=None, repr=False)

    def start(self, keeper: Keeper) -> None:
        if self._reader is None:
            _rotate(self.log)
            self.log.touch()
            self._reader = open(self.log, "rb")  # noqa: SIM115
            self._reader.seek(0, 2)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.env, cwd=self.cwd, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=die_with_parent(), pass_fds=self.pass_fds,
            )  # fmt: skip
        keeper.watch(self.process.pid)
        self.started, self.retry_at = time.monotonic(), None

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def alarms(self) -> list[str]:
        """New lines of the log that a person should see: what went wrong, and all that a `once` has to say."""
        lines = self._reader.readlines() if self._reader else []
        return [line.decode(errors="replace").rstrip()[:300] for line in lines if self.once or _ALARMING.search(line)]

    def ended(self) -> bool:
        """Whether it is gone though it should be there."""
        return not self.once and not self.running()

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.log.read_text(errors="replace")[-4000:].splitlines()[-lines:])


def _rotate(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _KEPT_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


def pause_after(crashes: int) -> float:
    """Seconds to wait before the next start: 1, 2, 4 ... 60."""
    return min(_LONGEST_PAUSE, 2.0 ** max(0, crashes - 1))


class Children:
    """All of them. `look` is called often."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.all: list[Child] = []

    def start(self, child: Child) -> Child:
        self.all.append(child)
        child.start(self.keeper)
        return child

    def look(self) -> list[str]:
        """Start again what crashed and is due. Returns what a person should read."""
        said = [f"{child.name}: {line}" for child in self.all for line in child.alarms()]
        for child in self.all:
            if child.retry_at is not None and time.monotonic() >= child.retry_at:
                child.start(self.keeper)
            elif child.retry_at is None and not child.running() and child.process is not None:
                said += self._ended(child)
        return said

    def _ended(self, child: Child) -> list[str]:
        process, child.process = child.process, None
        assert process is not None
        kill_group(process.pid)
        self.keeper.forget(process.pid)
        if child.once:
            return [f"{child.name}: failed, see {child.log}"] if process.returncode else []
        child.crashes = 1 if time.monotonic() - child.started > _STEADY_SECONDS else child.crashes + 1
        pause = pause_after(child.crashes)
        child.retry_at = time.monotonic() + pause
        return [f"{child.name}: ended ({_how(process.returncode)}); starting it again in {pause:.0f} s. See {child.log}"]

    def stop(self) -> None:
        """End all: ask, wait, insist; grandchildren included."""
        processes = [child.process for child in self.all if child.process is not None]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and any(process.poll() is None for process in processes):
            time.sleep(0.05)
        for process in processes:
            kill_group(process.pid)
            process.wait()
            self.keeper.forget(process.pid)
        self.all.clear()


def _how(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
