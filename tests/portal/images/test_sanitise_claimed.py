"""The io worker's part: each claim is one image, cleaned, refused or failed; the others never notice."""

from __future__ import annotations

import os
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image as Picture

from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.images import cleaning, kept, sanitise, selectors, services, storage
from portal.images.models import FileOutcome, ImageState
from portal.jobs import services as jobs
from portal.jobs.models import Job, JobState
from tests.cast import Cast
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, fresh, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def test_an_image_becomes_clean_and_waits_for_its_analysis(send: Send, cast: Cast) -> None:
    row = send("a.jpg", pictures.encoded(exif=pictures.exif()))
    sanitise_all()
    image = image_of(row)
    assert (image.state, image.clean_format, image.width, image.height) == ("clean", "jpg", 160, 120)
    assert (image.device, f"{image.captured:%Y-%m-%d}") == ("MobileODT EVA 3.0", "2024-05-17")
    assert image.without_patient
    with Picture.open(storage.clean_path(cast.north.pk, image.clean_sha256, "jpg")) as picture:
        assert picture.size == (160, 120)
    assert storage.thumb_path(cast.north.pk, image.clean_sha256).exists()
    assert list(Job.objects.values_list("kind", "state").order_by("kind")) == [
        ("analyse", "queued"), ("compare", "queued"), ("sanitise", "done"),
    ]  # fmt: skip
    assert AuditEvent.objects.filter(action="image.cleaned", subject_id=image.pk, actor_id=cast.alice.pk).count() == 1
    assert not selectors.stuck().exists()
    assert selectors.rows_without_blob() == []


def test_a_damaged_file_is_rejected_at_its_row_and_the_others_go_through(send: Send) -> None:
    bad = send("bad.jpg", pictures.encoded()[:400])
    huge = send("huge.png", pictures.png_claiming(20_000, 10_000))
    good = send("good.jpg")
    sanitise_all()
    assert [image_of(row).state for row in (bad, huge, good)] == ["rejected", "rejected", "clean"]
    assert (fresh(bad).outcome, fresh(bad).message) == (FileOutcome.REJECTED, sanitise.DAMAGED.message)
    assert "200 megapixels" in fresh(huge).message
    assert fresh(good).outcome == FileOutcome.ACCEPTED
    assert not Job.objects.exclude(state=JobState.DONE).exclude(kind__in=["analyse", "compare"]).exists()


def test_a_rejected_file_sent_again_is_rejected_with_the_same_reason(send: Send) -> None:
    data = pictures.encoded()[:400]
    send("bad.jpg", data)
    sanitise_all()
    again = send("other.jpg", data)
    assert (again.outcome, again.message) == (FileOutcome.REJECTED, sanitise.DAMAGED.message)


def test_what_was_taken_of_an_animation_is_said_at_its_row(send: Send) -> None:
    row = send("a.webp", pictures.encoded(None, "WEBP", save_all=True, append_images=[pictures.scene().rotate(180)]))
    sanitise_all()
    assert (fresh(row).outcome, fresh(row).message) == ("accepted", "The file holds 2 pictures; the first was taken.")


def test_a_poison_image_fails_alone_and_can_be_tried_again(send: Send, cast: Cast, monkeypatch: Any) -> None:
    poison, good = send("poison.jpg"), send("good.jpg")
    poisoned = image_of(poison).sha256
    make = sanitise.make

    def dies(path: Any, stem: Any) -> Any:
        if path.name == poisoned:
            os.kill(os.getpid(), 9)
        return make(path, stem)

    monkeypatch.setattr(sanitise, "make", dies)
    sanitise_all()
    image = image_of(poison)
    assert (image.state, image.state_reason) == ("failed", sanitise.CRASHED.message)
    assert image_of(good).state == "clean"
    assert Job.objects.get(kind="sanitise", subject_id=image.pk).state == JobState.FAILED
    monkeypatch.undo()
    services.retry(image=image, actor=cast.alice)
    sanitise_all()
    assert image_of(poison).state == "clean"
    with pytest.raises(WrongState):
        services.retry(image=image, actor=cast.alice)


def test_a_failed_image_is_tried_again_by_way_of_its_job_too(send: Send, cast: Cast, monkeypatch: Any) -> None:
    row = send("a.jpg")
    monkeypatch.setattr(sanitise, "clean", lambda *_: sanitise.TOO_SLOW)
    sanitise_all()
    monkeypatch.undo()
    jobs.retry(job=Job.objects.get(kind="sanitise"), actor_id=cast.sys.pk)
    sanitise_all()
    assert image_of(row).state == "clean"


def test_a_failed_image_that_is_sent_again_is_tried_again(send: Send, monkeypatch: Any) -> None:
    data = pictures.encoded()
    row = send("a.jpg", data)
    monkeypatch.setattr(sanitise, "clean", lambda *_: sanitise.TOO_SLOW)
    sanitise_all()
    monkeypatch.undo()
    again = send("b.jpg", data)
    assert "tried again" in again.message
    sanitise_all()
    assert image_of(row).state == "clean"


def test_a_late_writer_changes_nothing(send: Send, monkeypatch: Any) -> None:
    row = send("a.jpg")
    (claim,) = jobs.claim("sanitise", worker="first")
    Job.objects.update(attempt=2)
    cleaning.sanitise_claimed([claim])
    assert image_of(row).state == ImageState.RECEIVED
    assert not AuditEvent.objects.filter(action="image.cleaned").exists()


def test_a_second_delivery_does_nothing(send: Send) -> None:
    row = send("a.jpg")
    claims = jobs.claim("sanitise", worker="first")
    services.sanitise_claimed(claims)
    services.sanitise_claimed(claims)
    assert image_of(row).state == "clean"
    assert AuditEvent.objects.filter(action="image.cleaned").count() == 1


def test_a_full_disk_fails_no_image(send: Send, monkeypatch: Any) -> None:
    row = send("a.jpg")
    full = sanitise.Refused("storage", "The store could not be written (No space left on device).", again=True)
    monkeypatch.setattr(sanitise, "clean", lambda *_: full)
    claims = jobs.claim("sanitise", worker="w")
    with pytest.raises(cleaning.StoreTrouble, match="No space left"):
        services.sanitise_claimed(claims)
    assert image_of(row).state == ImageState.RECEIVED
    assert jobs.still_held(claims) == claims


def test_work_that_killed_its_worker_too_often_fails_the_image(send: Send) -> None:
    row = send("a.jpg")
    (claim,) = jobs.claim("sanitise", worker="w")
    services.give_up(claim, "The worker died three times.")
    assert (image_of(row).state, image_of(row).state_reason) == ("failed", "The worker died three times.")
    assert Job.objects.get().state == JobState.FAILED


def _shapes_of(work: Any) -> list[str]:
    """The statements of `work`, each reduced to its verb and table, savepoints and transactions left out."""
    with CaptureQueriesContext(connection) as queries:
        work()
    return [" ".join(query["sql"].split()[:3]) for query in queries if "SAVEPOINT" not in query["sql"]]


def test_a_batch_is_written_in_as_many_statements_as_one_image(send: Send) -> None:
    counts = []
    for names in (["a.jpg", "b.jpg"], [f"{n}.jpg" for n in range(8)]):
        rows = [send(name) for name in names]
        claims = jobs.claim("sanitise", worker="w")
        counts.append(_shapes_of(lambda claims=claims: services.sanitise_claimed(claims)))
        assert {image_of(row).state for row in rows} == {"clean"}
    assert counts[0] == counts[1]


def test_one_lost_claim_of_a_batch_leaves_the_others_clean(send: Send) -> None:
    rows = [send(name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    claims = jobs.claim("sanitise", worker="w")
    Job.objects.filter(pk=claims[1].job_id).update(attempt=9)
    services.sanitise_claimed(claims)
    assert [image_of(row).state for row in rows] == ["clean", "received", "clean"]


def test_a_decoder_that_dies_in_the_shared_child_takes_no_other_file_with_it(send: Send, monkeypatch: Any) -> None:
    rows = [send(f"{n}.jpg") for n in range(4)]
    poisoned, make, forks = image_of(rows[1]).sha256, sanitise.make, []
    in_child = sanitise._in_child

    def dies(path: Any, stem: Any) -> Any:
        if path.name == poisoned:
            os.kill(os.getpid(), 9)
        return make(path, stem)

    monkeypatch.setattr(sanitise, "make", dies)

    def counted(*given: Any) -> Any:
        forks.append(1)
        return in_child(*given)

    monkeypatch.setattr(sanitise, "_in_child", counted)
    sanitise_all()
    assert [image_of(row).state for row in rows] == ["clean", "failed", "clean", "clean"]
    assert len(forks) == 4, "one child for the batch, then one each for what it did not reach"
    assert list((kept.temporary(settings.CLEAN_DIR).parent).iterdir()) == []
