"""Real worker processes by the command lines of production."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from portal.jobs import services
from portal.jobs.models import Job
from tests.cast import Cast, champion, make_image
from tests.chaos.groups import Group, beat, workers

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Callable[[str, str], Group]]:
    """Starts one role with some seconds of work for each picture."""
    started: list[Group] = []

    def start(name: str, seconds: str = "0") -> Group:
        stores = {"WINNOW_ORIGINALS": str(settings.ORIGINALS_DIR), "WINNOW_CLEAN": str(settings.CLEAN_DIR)}
        env = {**os.environ, **stores, "CHAOS_SECONDS": seconds, "DJANGO_SETTINGS_MODULE": "portal.settings"}
        one = beat(tmp_path, env) if name == "beat" else next(g for g in workers(tmp_path, env) if g.name == name)
        one.start()
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()


def _wait(reached: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, list(Job.objects.values("kind", "state", "error"))
        time.sleep(0.1)


def test_an_upload_goes_its_way_through_io_and_gpu_worker_without_a_beat(cast: Cast, group: Callable[..., Group]) -> None:
    champion()
    image = make_image(cast.north)
    group("io1")
    group("gpu")
    services.enqueue(kind="sanitise", subject_id=image.pk)

    def arrived() -> bool:
        image.refresh_from_db()
        return image.state in ("accepted", "in_review")

    _wait(arrived)


def test_a_beat_heals_a_lost_ring(cast: Cast, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.jobs.bell.ring_after_commit", lambda kind: None)
    image = make_image(cast.north)
    services.enqueue(kind="sanitise", subject_id=image.pk)
    group("io1")
    group("beat")
    _wait(lambda: Job.objects.filter(kind="sanitise", state="done").exists())


def test_a_worker_that_is_told_to_end_gives_its_work_back_at_once(cast: Cast, group: Callable[..., Group]) -> None:
    champion()
    gpu = group("gpu", "30")
    image = make_image(cast.north, state="clean")
    services.enqueue(kind="analyse", subject_id=image.pk)
    _wait(lambda: Job.objects.filter(state="claimed").exists())
    assert gpu.process is not None
    gpu.process.send_signal(signal.SIGTERM)
    _wait(lambda: Job.objects.filter(state="queued").exists(), 5)
    job = Job.objects.get()
    assert (job.deaths, job.errors, job.alone) == (0, 0, False)
