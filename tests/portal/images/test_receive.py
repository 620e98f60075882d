"""A file comes in: every byte is kept or refused with a reason, and no bad file stops the others."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.images import kept, selectors, services, storage
from portal.images.models import UPLOAD_CANCELLED, FileOutcome, Image, ImageState, Upload, UploadFile
from portal.jobs.models import Job
from portal.reviews.services import withdraw
from tests.cast import Cast
from tests.portal.images import pictures
from tests.portal.images.conftest import Send, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def test_a_received_file_is_stored_under_its_hash_and_has_work_waiting(send: Send, cast: Cast, stores: Path) -> None:
    data = pictures.encoded()
    row = send("../../etc/passwd.jpg", data)
    image = row.image
    assert image is not None
    assert (row.outcome, image.state, image.format, image.size) == (FileOutcome.ACCEPTED, "received", "JPEG", len(data))
    assert storage.original_path(cast.north.pk, image.sha256).read_bytes() == data
    assert [p.name for p in (stores / "originals" / ".incoming").iterdir()] == []
    assert Job.objects.get(kind="sanitise").subject_id == image.pk
    assert AuditEvent.objects.filter(action="image.received", actor_id=cast.alice.pk, subject_id=image.pk).exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty (0 bytes)"),
        (b"hello, this is text", "not a picture"),
        (b"GIF89a....", "a GIF picture"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "a video"),
    ],
)
def test_what_is_no_picture_is_rejected_with_its_reason(send: Send, data: bytes, says: str) -> None:
    row = send("picture.jpg", data)
    assert row.outcome == FileOutcome.REJECTED
    assert says in row.message
    assert not Image.objects.exists()


def test_a_wrong_name_does_not_matter(send: Send) -> None:
    assert send("notes.txt", pictures.encoded(None, "PNG")).outcome == FileOutcome.ACCEPTED


def test_a_file_over_the_limit_is_rejected_and_leaves_nothing(send: Send, settings: Any, stores: Path) -> None:
    settings.MAX_FILE_BYTES = 2_000_000
    row = send("big.jpg", b"\xff\xd8\xff" + b"x" * 3_000_000)
    assert (row.outcome, row.message) == (FileOutcome.REJECTED, "The file has more than 2 MB. Send it smaller.")
    assert [p for p in stores.rglob("*") if p.is_file()] == []


def test_a_bad_file_does_not_stop_the_others(send: Send) -> None:
    outcomes = [send("a.jpg").outcome, send("b.jpg", b"").outcome, send("c.jpg", b"text").outcome, send("d.jpg").outcome]
    assert outcomes == ["accepted", "rejected", "rejected", "accepted"]


def test_the_same_bytes_again_are_a_duplicate_that_names_the_own_image(send: Send) -> None:
    data = pictures.encoded()
    first, second = send("a.jpg", data), send("b.jpg", data)
    assert (second.outcome, second.image_id) == (FileOutcome.DUPLICATE, first.image_id)
    assert f"image {first.image_id} (a.jpg" in second.message
    assert Image.objects.count() == 1


def test_sending_the_same_file_twice_is_one_row(send: Send) -> None:
    data = pictures.encoded()
    assert send("a.jpg", data).pk == send("a.jpg", data).pk
    assert send("x.jpg", b"").pk == send("x.jpg", b"").pk
    assert UploadFile.objects.count() == 2


def test_another_site_never_learns_that_a_picture_is_known(send: Send, cast: Cast) -> None:
    data = pictures.encoded()
    theirs = services.open_upload(site=cast.river, actor=cast.bob)
    send("a.jpg", data)
    row = send("a.jpg", data, to=theirs, actor=cast.bob)
    assert (row.outcome, row.message) == (FileOutcome.ACCEPTED, "")
    assert Image.objects.count() == 2


def test_a_broken_line_leaves_no_row_and_says_send_again(upload: Upload, cast: Cast, stores: Path) -> None:
    with pytest.raises(BadInput, match="connection broke"):
        services.receive(upload=upload, file=io.BytesIO(pictures.encoded()[:500]), name="a.jpg", actor=cast.alice, size=900)
    assert not UploadFile.objects.exists()
    assert [p for p in stores.rglob("*") if p.is_file()] == []


def test_nobody_uploads_to_a_site_that_is_not_their_own(cast: Cast) -> None:
    for person in (cast.bob, cast.rita, cast.max, cast.sys):
        with pytest.raises(NotAllowed):
            services.open_upload(site=cast.north, actor=person)


def test_a_closed_or_cancelled_upload_takes_nothing_more(send: Send, upload: Upload, cast: Cast) -> None:
    services.close_upload(upload=upload, actor=cast.alice)
    with pytest.raises(WrongState):
        send()


def test_a_cancelled_upload_withdraws_what_waits_and_it_comes_back_when_sent_again(send: Send, upload: Upload, cast: Cast) -> None:
    data = pictures.encoded()
    row = send("a.jpg", data)
    services.cancel_upload(upload=upload, actor=cast.alice)
    assert image_of(row).state == ImageState.WITHDRAWN
    sanitise_all()
    assert image_of(row).state == ImageState.WITHDRAWN
    again = send("a.jpg", data, to=services.open_upload(site=cast.north, actor=cast.alice))
    assert again.outcome == FileOutcome.ACCEPTED
    sanitise_all()
    assert image_of(row).state == ImageState.CLEAN


def test_what_was_withdrawn_for_another_reason_does_not_come_back(send: Send) -> None:
    data = pictures.encoded()
    row = send("a.jpg", data)
    Image.objects.update(state="withdrawn", state_reason="The patient asked for it.")
    assert send("b.jpg", data).outcome == FileOutcome.REJECTED
    assert image_of(row).state == ImageState.WITHDRAWN


def test_what_a_person_withdrew_in_the_words_of_a_cancelled_upload_does_not_come_back(send: Send, cast: Cast) -> None:
    data = pictures.encoded()
    row = send("a.jpg", data)
    withdraw(image=image_of(row), actor=cast.lena, reason=UPLOAD_CANCELLED)
    assert send("b.jpg", data).outcome == FileOutcome.REJECTED
    assert image_of(row).state == ImageState.WITHDRAWN


def test_a_crash_between_blob_and_row_leaves_an_orphan_that_is_found(send: Send, cast: Cast, monkeypatch: Any) -> None:
    def crash(point: str) -> None:
        raise KeyboardInterrupt

    data = pictures.encoded()
    monkeypatch.setattr(services, "fault", crash)
    with pytest.raises(KeyboardInterrupt):
        send("a.jpg", data)
    monkeypatch.undo()
    assert not UploadFile.objects.exists()
    assert [site for site, _ in selectors.orphan_blobs()] == [cast.north.pk]
    assert send("a.jpg", data).outcome == FileOutcome.ACCEPTED
    assert selectors.orphan_blobs() == []
    assert selectors.rows_without_blob() == []


def test_left_over_temporary_files_are_swept(stores: Path, settings: Any) -> None:
    kept.temporary(settings.ORIGINALS_DIR).write_bytes(b"x")
    assert storage.sweep_incoming() == 0
    assert storage.sweep_incoming(older_than=-1) == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_that_send_the_same_picture_at_once_one_is_the_duplicate(cast: Cast) -> None:
    uploads = [services.open_upload(site=cast.north, actor=cast.alice) for _ in range(4)]
    data, outcomes, start = pictures.encoded(), [], threading.Barrier(4)

    def send_one(upload: Upload) -> None:
        start.wait()
        outcomes.append(services.receive(upload=upload, file=io.BytesIO(data), name="a.jpg", actor=cast.alice).outcome)
        connection.close()

    threads = [threading.Thread(target=send_one, args=(upload,)) for upload in uploads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted", "duplicate", "duplicate", "duplicate"]
    assert (Image.objects.count(), Job.objects.count()) == (1, 1)
