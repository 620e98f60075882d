"""The invariants: silent over a healthy house, and each says what is broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command

from portal.accounts.models import Site
from portal.images import storage
from portal.images.models import Image
from portal.jobs import services
from portal.jobs.models import Job
from portal.labels.models import Label
from portal.pipeline.invariants import collect, violations
from portal.reviews.models import ReviewTask
from tests.cast import Cast, make_image

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
    "blobs.row_without_blob": lambda image: storage.original_path(image.site_id, image.sha256).unlink(),
    "blobs.blob_without_row": lambda image: _orphan(image.site),
}


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
