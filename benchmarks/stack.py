"""A portal of the benchmark's own: Postgres, Redis, migrations and worker processes in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def servers(keep: Path | None = None) -> Iterator[Path]:
    """Postgres and Redis, migrated, with Django set up in this process; yields the temporary folder, or the one that is to be kept."""
    from portal.embedded import OWNER, Postgres, Redis

    folder = keep or Path(tempfile.mkdtemp(prefix="winnow-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    postgres, redis = Postgres(folder / "pg"), Redis(folder / "redis")
    try:
        postgres.start()
        redis.start()
        (folder / "var").mkdir(exist_ok=True)
        os.environ |= {
            "WINNOW_DEVELOPMENT": "1",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "DATABASE_URL": postgres.url(),
            "DATABASE_OWNER_URL": postgres.url(role=OWNER),
            "BENCH_SUPERUSER_URL": postgres.url(role="postgres"),
            "REDIS_URL": redis.url(),
            "WINNOW_VAR": str(folder / "var"),
        }
        env = {**os.environ, "WINNOW_AS_OWNER": "1"}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], check=True, cwd=ROOT, env=env)
        import django

        django.setup()
        yield folder
    finally:
        redis.stop()
        postgres.stop()
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workers(folder: Path, roles: Sequence[str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The worker processes of these roles, by the same command lines as `manage.py up`."""
    from portal.pipeline.commands import worker_commands

    running = {}
    with open(folder / "workers.log", "ab") as log:
        for role in roles:
            running[role] = subprocess.Popen(worker_commands()[role], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(60)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, the largest single one of them, MB."""
    import psutil

    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return max(process.memory_info().rss for process in family) / 1e6
