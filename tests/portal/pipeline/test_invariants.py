"""The invariants: silent over a healthy house, and each says what is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from portal.accounts.models import Site
from portal.images import storage
from portal.images.models import Image
from portal.jobs import services
from portal.jobs.models import Job
from portal.labels.models import Label
from portal.pipeline.invariants import collect, violations
from portal.reviews.leases import LEASE
from portal.reviews.models import Lease, ReviewTask
from tests.cast import Cast, make_image, make_read, make_user

pytestmark = pytest.mark.django_db


def _broken() -> set[str]:
    """But for what the cast's short cuts leave out: they write no audit events."""
    return {name for name in violations() if not name.startswith("unaudited.") and not name.endswith("without_audit_event")}


@pytest.fixture
def healthy(cast: Cast) -> Image:
    image = make_image(cast.north, state="clean")
    services.enqueue(kind="analyse", subject_id=image.pk)
    for state in ("rejected", "quarantined", "accepted", "in_review", "settled", "withdrawn"):
        make_image(cast.north, state=state)
    for task in ReviewTask.objects.filter(state="closed"):
        make_read(task, cast.ravi)
    return image


def test_a_healthy_house_breaks_none(healthy: Image) -> None:
    assert _broken() == set()


def test_every_query_runs() -> None:
    queries, checks = collect()
    assert len(queries) > 20
    assert {"blobs.row_without_blob", "blobs.blob_without_row"} <= checks.keys()
    assert violations() == {}


BREAKS: dict[str, Callable[[Image], object]] = {
    "lost.clean_without_analyse": lambda image: Job.objects.filter(subject_id=image.pk).delete(),
    "lost.received_without_sanitise": lambda image: make_image(image.site),
    "stuck.analysed_without_triage": lambda image: make_image(image.site, state="analysed"),
    "stuck.accepted_without_label": lambda image: Label.objects.filter(image__state="accepted").update(current=False),
    "stuck.in_review_without_task": lambda image: ReviewTask.objects.update(state="closed"),
    "stuck.open_task_of_image_out": lambda image: Image.objects.filter(state="in_review").update(state="withdrawn"),
    "stuck.failed_without_reason": lambda image: Image.objects.filter(state="rejected").update(state_reason=""),
    "jobs.failed_without_reason": lambda image: Job.objects.update(state="failed", finished=image.created),
    "reviews.answers_counted_wrong": lambda image: ReviewTask.objects.filter(state="open").update(answered=1),
    "reviews.more_at_work_than_answers_missing": lambda image: _two_at_one_question(),
    "reviews.closed_short": lambda image: ReviewTask.objects.filter(state="open").update(state="closed"),
    "reviews.measure_moved_a_label": lambda image: _measured(),
    "blobs.row_without_blob": lambda image: storage.original_path(image.site_id, image.sha256).unlink(),
    "blobs.blob_without_row": lambda image: _orphan(image.site),
}


def _two_at_one_question() -> None:
    task = ReviewTask.objects.get(state="open")
    for name in ("one", "two"):
        Lease.objects.create(task=task, reader=make_user(name), token=name, until=Now() + LEASE)


def _measured() -> None:
    task = ReviewTask.objects.filter(state="open").first()
    assert task is not None
    ReviewTask.objects.filter(pk=task.pk).update(purpose="gold", for_reader=make_user("one"))
    Label.objects.create(image=task.image, kind="regular", provenance="consensus", basis={"task": task.pk}, current=False)


def _orphan(site: Site) -> None:
    storage.original_path(site.pk, "f" * 64).write_bytes(b"x")


@pytest.mark.parametrize("name", BREAKS)
def test_each_break_is_found_by_its_name(healthy: Image, name: str) -> None:
    BREAKS[name](healthy)
    try:
        assert name in _broken()
    finally:
        storage.original_path(healthy.site_id, "f" * 64).unlink(missing_ok=True)


def test_a_change_without_a_word_in_the_audit_log_is_found(healthy: Image) -> None:
    assert {"unaudited.image", "unaudited.clean", "unaudited.label", "unaudited.task"} <= violations().keys()


def test_the_command_fails_when_something_is_broken(healthy: Image, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants")
    assert ended.value.code == 1
    assert "unaudited.image" in capsys.readouterr().out


def test_the_command_is_content_with_an_empty_house(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants")
    assert ended.value.code == 0
    assert "0 broken" in capsys.readouterr().out
