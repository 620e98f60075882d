"""The command line of each role, for `manage.py up`, compose and the chaos tests alike.

io: prefork, never loads torch (the sanitiser forks limited children from it). gpu, train: one process, no fork, so that CUDA and
torch's threads are touched in one process only; one gpu worker a card. beat: one in the whole installation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from django.conf import settings

from portal.jobs.kinds import KINDS

CELERY = [sys.executable, "-m", "celery", "--quiet", "-A", "portal"]
_QUIET = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
_IO_MEMORY_KB = 400_000


def worker_commands() -> dict[str, list[str]]:
    """Role -> argv."""
    return {"io": io(), "gpu": solo("gpu"), "train": solo("train"), "beat": beat()}


def queues(role: str) -> str:
    """The Celery queues of a role: one for each of its kinds. A worker takes them in turns."""
    return ",".join(kind.bell for kind in KINDS.values() if kind.queue == role)


def io(*, processes: int | None = None) -> list[str]:
    count = processes or max(1, min(4, os.cpu_count() or 1))
    pool = ["-P", "prefork", "-c", str(count), f"--max-memory-per-child={_IO_MEMORY_KB}", "-O", "fair"]
    return [*CELERY, "worker", "-Q", queues("io"), "-n", "io@%h", *pool, *_QUIET]


def solo(queue: str) -> list[str]:
    return [*CELERY, "worker", "-Q", queues(queue), "-n", f"{queue}@%h", "-P", "solo", *_QUIET]


def beat() -> list[str]:
    """Schedules and does the beat's tasks itself, in a worker of its own: in line with the work, a sweep would wait as long as the work.

    Tried: with their messages in the io queue, sweeps came minutes late or expired before they ran, as soon as there was a backlog.
    """
    schedule = Path(settings.VAR_DIR) / "beat"
    return [*CELERY, "worker", "-B", "--schedule-filename", str(schedule), "-Q", "beat", "-n", "beat@%h", "-P", "solo", *_QUIET]
