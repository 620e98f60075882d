"""The doorbell tasks and the roles' command lines."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from portal.celery import app
from portal.images import kept
from portal.jobs import bell, services
from portal.jobs.kinds import KINDS
from portal.jobs.models import Job
from portal.pipeline import commands, tasks
from portal.pipeline.handlers import HANDLERS
from tests.cast import Cast, make_image


@pytest.mark.django_db
def test_the_beat_rings_for_kinds_with_due_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[str] = []
    monkeypatch.setattr(bell, "ring", lambda kind, **_: rung.append(kind))
    services.enqueue(kind="sanitise", subject_id=1)
    services.enqueue(kind="train", subject_id=1)
    services.enqueue(kind="freeze", subject_id=1)
    services.release(services.claim("train", worker="w"), delay=100)
    tasks.ring()
    assert rung == ["freeze", "sanitise"]


@pytest.mark.django_db(transaction=True)
def test_the_third_death_alone_fails_the_job_and_its_image(cast: Cast) -> None:
    image = make_image(cast.north)
    services.enqueue(kind="sanitise", subject_id=image.pk)
    for _ in range(3):
        services.claim("sanitise", worker="w")
        Job.objects.update(lease_until=Now() - timedelta(seconds=1))
        tasks.sweep()
    image.refresh_from_db()
    assert (image.state, image.state_reason) == ("failed", tasks.DIED)
    assert Job.objects.get().state == "failed"


def test_every_kind_has_a_handler_and_a_worker_on_its_queue() -> None:
    assert HANDLERS.keys() == KINDS.keys()
    argv = commands.worker_commands()
    queues = [queue for command in argv.values() for queue in command[command.index("-Q") + 1].split(",")]
    assert {kind.bell for kind in KINDS.values()} | {"beat"} == set(queues)


def test_the_beats_tasks_wait_behind_no_backlog() -> None:
    """A sweep in line with the work comes as late as the work."""
    assert {entry["options"]["queue"] for entry in app.conf.beat_schedule.values()} == {"beat"}
    work = [command for role, command in commands.worker_commands().items() if role != "beat"]
    assert not [command for command in work if "beat" in command[command.index("-Q") + 1].split(",")]


def test_every_scheduled_task_exists() -> None:
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert scheduled <= app.tasks.keys()
    assert bell.DRAIN in app.tasks


def test_an_io_worker_never_loads_torch() -> None:
    code = "import sys, portal.wsgi, portal.pipeline.tasks; sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'torchvision')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.django_db
def test_what_a_cut_off_upload_left_is_removed_a_day_later(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR = settings.CLEAN_DIR = tmp_path
    old, new = (kept.temporary(tmp_path) for _ in range(2))
    for path in (old, new):
        path.write_bytes(b"half a picture")
    os.utime(old, (0, 0))
    tasks.sweep_incoming()
    assert (old.exists(), new.exists()) == (False, True)
