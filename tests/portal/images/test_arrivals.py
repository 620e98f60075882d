"""Files in pieces: what has come stays, whatever breaks in between; whole, a file becomes what it would have become at once."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.audit.models import AuditEvent
from portal.images import arrivals, locks, partials, seats, selectors, services, storage
from portal.images.models import Arrival, FileOutcome, Image, Upload, UploadFile
from portal.jobs.models import Job
from tests.cast import Cast, picture_bytes

pytestmark = pytest.mark.django_db
TUS = {"Tus-Resumable": "1.0.0", "Accept": "application/json"}
PIECE = "application/offset+octet-stream"


class Sender:
    """A tus client of the test's own, over the pages' addresses."""

    def __init__(self, client: Client, upload: Upload) -> None:
        self.client, self.base = client, reverse("upload_tus", args=[upload.pk])

    def create(self, name: str, size: int, first: bytes = b"", **headers: str) -> Any:
        metadata = f"name {base64.b64encode(name.encode()).decode()},mark {base64.b64encode(b'7-7').decode()}"
        said = {**TUS, "Upload-Length": str(size), "Upload-Metadata": metadata, **headers}
        return self.client.post(self.base, first, content_type=PIECE, headers=said)

    def patch(self, address: str, offset: int, data: bytes, **headers: str) -> Any:
        return self.client.patch(address, data, content_type=PIECE, headers={**TUS, "Upload-Offset": str(offset), **headers})

    def offset(self, address: str) -> int:
        answer = self.client.head(address, headers=TUS)
        assert answer.status_code == 200, answer.status_code
        return int(answer["Upload-Offset"])


@pytest.fixture
def sender(cast: Cast, upload: Upload) -> Sender:
    return Sender(cast.client(cast.alice), upload)


def stored(site_id: int, data: bytes) -> Path:
    return storage.original_path(site_id, hashlib.sha256(data).hexdigest())


def files_below(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_file_in_three_pieces_is_stored_as_if_it_had_come_at_once(sender: Sender, cast: Cast, stores: Path) -> None:
    data = picture_bytes(size=(400, 300))
    made = sender.create("second/a.jpg", len(data))
    assert (made.status_code, made["Upload-Offset"]) == (201, "0")
    where = made["Location"]
    third = len(data) // 3
    assert sender.patch(where, 0, data[:third]).status_code == 204
    assert sender.offset(where) == third
    assert not Image.objects.exists()
    assert sender.patch(where, third, data[third : 2 * third])["Upload-Offset"] == str(2 * third)
    last = sender.patch(where, 2 * third, data[2 * third :])
    assert (last.status_code, last.json()["outcome"], last.json()["name"]) == (200, "accepted", "second/a.jpg")
    assert stored(cast.north.pk, data).read_bytes() == data
    assert files_below(stores / "originals" / partials.FOLDER) == []
    image = Image.objects.get()
    assert (image.size, image.format, Job.objects.get(kind="sanitise").subject_id) == (len(data), "JPEG", image.pk)
    assert AuditEvent.objects.filter(action="image.received", actor_id=cast.alice.pk, subject_id=image.pk).exists()


def test_a_small_file_comes_with_its_creation(sender: Sender, cast: Cast) -> None:
    data = picture_bytes()
    made = sender.create("a.jpg", len(data), data)
    assert (made.status_code, made.json()["outcome"], made["Upload-Offset"]) == (201, "accepted", str(len(data)))
    assert stored(cast.north.pk, data).exists()
    assert sender.offset(made["Location"]) == len(data)
    assert sender.client.head(made["Location"], headers=TUS)["Winnow-Outcome"] == "accepted"


def test_a_body_larger_than_a_piece_is_counted_piece_by_piece(sender: Sender, cast: Cast, monkeypatch: Any) -> None:
    monkeypatch.setattr(arrivals, "PIECE", 1000)
    monkeypatch.setattr(arrivals, "_SIP", 300)
    data = picture_bytes(size=(400, 300))
    offsets: list[int] = []
    monkeypatch.setattr(arrivals, "fault", lambda point: offsets.extend(Arrival.objects.values_list("offset", flat=True)))
    where = sender.create("a.jpg", len(data))["Location"]
    assert sender.patch(where, 0, data).json()["outcome"] == "accepted"
    assert offsets[:3] == [1000, 2000, 3000]
    assert stored(cast.north.pk, data).read_bytes() == data


@pytest.mark.parametrize(
    ("data", "says"), [(b"", "empty (0 bytes)"), (b"hello, this is text", "not a picture"), (b"GIF89a....", "a GIF picture")]
)
def test_what_is_wrong_with_a_file_is_its_outcome(sender: Sender, stores: Path, data: bytes, says: str) -> None:
    made = sender.create("x.jpg", len(data), data)
    assert (made.status_code, made.json()["outcome"]) == (201, "rejected")
    assert says in made.json()["message"]
    assert sender.create("x.jpg", len(data), data).json()["file"] == made.json()["file"]
    assert files_below(stores / "originals") == []


def test_a_file_over_the_limit_gets_its_outcome_before_a_byte_is_sent(sender: Sender, settings: Any) -> None:
    settings.MAX_FILE_BYTES = 2_000_000
    answer = sender.create("big.jpg", 3_000_000)
    assert (answer.status_code, answer.json()["message"]) == (413, "The file has more than 2 MB. Send it smaller.")
    assert UploadFile.objects.get().outcome == FileOutcome.REJECTED


def test_sent_twice_it_is_stored_once(sender: Sender) -> None:
    data = picture_bytes()
    first, again = sender.create("a.jpg", len(data), data).json(), sender.create("a.jpg", len(data), data).json()
    other = sender.create("b.jpg", len(data), data).json()
    assert first["file"] == again["file"]
    assert (other["outcome"], other["image"]) == ("duplicate", first["image"])
    assert (Image.objects.count(), Job.objects.count(), UploadFile.objects.count()) == (1, 1, 2)


def test_a_wrong_offset_a_wrong_checksum_and_too_many_bytes_change_nothing(sender: Sender) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data))["Location"]
    sender.patch(where, 0, data[:100])
    wrong = base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    right = base64.b64encode(hashlib.sha1(data[100:200]).digest()).decode()
    assert sender.patch(where, 50, data[50:]).status_code == 409
    assert sender.patch(where, 100, data[100:200], **{"Upload-Checksum": f"sha1 {wrong}"}).status_code == 460
    assert sender.patch(where, 100, data[100:] + b"more").status_code == 400
    assert sender.offset(where) == 100
    assert sender.patch(where, 100, data[100:200], **{"Upload-Checksum": f"sha1 {right}"}).status_code == 204


def test_a_closed_upload_takes_nothing_more_but_still_says_what_came(sender: Sender, upload: Upload, cast: Cast) -> None:
    data = picture_bytes()
    whole, half = sender.create("a.jpg", len(data), data)["Location"], sender.create("b.jpg", len(data), data[:50])["Location"]
    services.close_upload(upload=upload, actor=cast.alice)
    assert sender.patch(half, 50, data[50:]).status_code == 409
    assert sender.create("c.jpg", 5, b"12345").status_code == 409
    assert sender.offset(whole) == len(data)


def test_others_find_nothing_and_see_the_same_bytes_as_for_what_is_absent(sender: Sender, upload: Upload, cast: Cast) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:50])["Location"]
    absent = where[:-12] + "0" * 12
    theirs = services.open_upload(site=cast.river, actor=cast.bob)
    bob = cast.client(cast.bob)
    elsewhere = where.replace(f"/uploads/{upload.pk}/", f"/uploads/{theirs.pk}/")
    answers = [
        bob.patch(address, data[50:], content_type=PIECE, headers={**TUS, "Upload-Offset": "50"}) for address in (where, absent, elsewhere)
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[1].content)}
    assert sender.client.head(absent, headers=TUS).status_code == 404
    assert sender.offset(where) == 50


def test_a_terminated_file_leaves_nothing_and_a_stored_one_is_not_terminated(sender: Sender, stores: Path) -> None:
    data = picture_bytes()
    half, whole = sender.create("a.jpg", len(data), data[:50])["Location"], sender.create("b.jpg", len(data), data)["Location"]
    assert sender.client.delete(half, headers=TUS).status_code == 204
    assert sender.client.head(half, headers=TUS).status_code == 404
    assert files_below(stores / "originals" / partials.FOLDER) == []
    assert sender.client.delete(whole, headers=TUS).status_code == 409


def test_what_the_disk_lost_is_asked_for_again(sender: Sender) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]
    with open(partials.path_of(Arrival.objects.get().pk), "r+b") as file:
        file.truncate(40)
    assert sender.offset(where) == 40
    assert sender.patch(where, 100, data[100:]).status_code == 409
    assert sender.patch(where, 40, data[40:]).json()["outcome"] == "accepted"


def test_a_line_that_breaks_keeps_what_came(upload: Upload, cast: Cast) -> None:
    data = picture_bytes()

    class Breaking:
        left = [data[:100], data[100:150]]

        def read(self, size: int, /) -> bytes:
            if not self.left:
                raise ConnectionResetError
            return self.left.pop(0)

    headers = {"tus-resumable": "1.0.0", "upload-length": str(len(data)), "content-type": PIECE, "upload-metadata": "name YQ=="}
    said = arrivals.Spoken("POST", "/tus", headers, Breaking())
    answer = arrivals.speak(upload=upload, actor=cast.alice, said=said, arrival=None)
    assert (answer.status, Arrival.objects.get().offset) == (201, 150)


@pytest.mark.parametrize("point", ["before_settle", "after_blob"])
def test_a_crash_at_the_end_is_mended_by_asking_again(sender: Sender, cast: Cast, monkeypatch: Any, point: str) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]

    def crash(at: str) -> None:
        if at == point:
            raise KeyboardInterrupt

    for module in (arrivals, services):
        monkeypatch.setattr(module, "fault", crash)
    with pytest.raises(KeyboardInterrupt):
        sender.patch(where, 100, data[100:])
    monkeypatch.undo()
    assert not Image.objects.exists()
    assert sender.offset(where) == len(data)
    assert (Image.objects.count(), UploadFile.objects.get().outcome) == (1, "accepted")
    assert selectors.orphan_blobs() == []


def test_who_does_not_ask_again_is_taken_in_by_the_beat(sender: Sender, monkeypatch: Any) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]
    monkeypatch.setattr(arrivals, "_outcome", lambda arrival, actor: None)
    sender.patch(where, 100, data[100:])
    assert arrivals.finish_waiting() == 0
    Arrival.objects.update(moved=timezone.now() - timedelta(minutes=2))
    assert arrivals.finish_waiting() == 1
    assert arrivals.finish_waiting() == 0
    assert Image.objects.count() == 1


def test_a_full_disk_is_said_leaves_no_torn_piece_and_goes_on_by_itself(sender: Sender, cast: Cast, monkeypatch: Any) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]
    honest = os.pwrite

    def full(descriptor: int, piece: Any, offset: int) -> int:
        if offset > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(descriptor, piece[:30], offset)

    monkeypatch.setattr(os, "pwrite", full)
    refused = sender.patch(where, 100, data[100:])
    assert (refused.status_code, refused.json()["code"]) == (507, "store_full")
    assert "No space left on device" in refused.json()["message"]
    assert partials.size_of(Arrival.objects.get().pk) == 100
    new = sender.create("b.jpg", len(data), data)
    assert (new.status_code, Arrival.objects.count()) == (507, 1)
    monkeypatch.undo()
    assert sender.offset(where) == 100
    assert sender.patch(where, 100, data[100:]).json()["outcome"] == "accepted"
    assert stored(cast.north.pk, data).read_bytes() == data


def test_what_was_abandoned_is_swept_after_the_days_of_the_setting(sender: Sender, upload: Upload, stores: Path, settings: Any) -> None:
    data = picture_bytes()
    half = sender.create("a.jpg", len(data), data[:100])["Location"]
    whole = sender.create("b.jpg", len(data), data)["Location"]
    lost = stores / "originals" / partials.FOLDER / ("0" * 32)
    lost.write_bytes(b"x")
    assert arrivals.sweep() == 0
    old = timezone.now() - timedelta(days=settings.PARTIAL_DAYS, minutes=1)
    Arrival.objects.update(moved=old)
    os.utime(lost, (old.timestamp(), old.timestamp()))
    assert sender.client.head(half, headers=TUS).status_code == 410
    assert arrivals.sweep() == 1
    assert files_below(stores / "originals" / partials.FOLDER) == []
    assert sender.client.head(half, headers=TUS).status_code == 404
    assert sender.offset(whole) == len(data)


def test_what_is_held_is_told_by_name_size_and_place(sender: Sender, upload: Upload) -> None:
    data = picture_bytes()
    sender.create("a.jpg", len(data), data)
    sender.create("empty.jpg", 0)
    half = sender.create("b.jpg", len(data), data[:100])["Location"]
    said = sender.client.get(reverse("upload_held", args=[upload.pk])).json()
    assert [(file["name"], file["size"], file["outcome"]) for file in said["files"]] == [
        ("a.jpg", len(data), "accepted"), ("empty.jpg", 0, "rejected"),
    ]  # fmt: skip
    assert said["partial"] == [{"name": "b.jpg", "size": len(data), "mark": "7-7", "offset": 100, "address": half}]


def test_a_whole_file_takes_a_fixed_number_of_queries(sender: Sender, django_assert_max_num_queries: Any) -> None:
    sender.create("w.jpg", 4, b"warm")
    data = picture_bytes()
    with django_assert_max_num_queries(20):
        assert sender.create("a.jpg", len(data), data).json()["outcome"] == "accepted"


@pytest.mark.django_db(transaction=True)
def test_of_two_that_write_one_file_at_once_one_is_told_to_wait(sender: Sender, cast: Cast) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Arrival.objects.select_for_update().get()
            held.set()
            done.wait(20)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    assert sender.patch(where, 100, data[100:]).status_code == 423
    done.set()
    holder.join()
    assert sender.patch(where, 100, data[100:]).json()["outcome"] == "accepted"


@pytest.mark.django_db(transaction=True)
def test_of_many_that_send_the_same_rest_at_once_all_end_with_one_file(sender: Sender, upload: Upload, cast: Cast) -> None:
    data = picture_bytes()
    where = sender.create("a.jpg", len(data), data[:100])["Location"]
    statuses, start = list[int](), threading.Barrier(4)

    def race(send: Callable[[], int]) -> None:
        start.wait()
        statuses.append(send())
        connection.close()

    threads = [
        threading.Thread(
            target=race, args=(lambda client=cast.client(cast.alice): Sender(client, upload).patch(where, 100, data[100:]).status_code,)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses)[0] == 200
    assert set(sorted(statuses)[1:]) <= {403, 409, 423}
    assert stored(cast.north.pk, data).read_bytes() == data
    assert UploadFile.objects.count() == 1


def test_who_finds_no_seat_is_told_to_come_again(sender: Sender, settings: Any) -> None:
    """Slow lines hold threads of the web process: pages must have some left."""
    settings.SENDERS = 2
    data = picture_bytes()
    with seats.seat():
        assert sender.create("first.jpg", len(data), data).status_code == 201
        with seats.seat():
            refused = sender.create("late.jpg", len(data), data)
            assert (refused.status_code, refused.json()["code"], refused["Retry-After"]) == (503, "busy", "2")
            assert sender.client.get(reverse("upload_list")).status_code == 200
    assert sender.create("late.jpg", len(data), data).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_other_files_of_an_upload_come_in_beside_one_that_is_being_taken_and_one_of_its_name_waits(
    sender: Sender, upload: Upload, cast: Cast
) -> None:
    waits = threading.Event()

    def same_name() -> None:
        Sender(cast.client(cast.alice), upload).create("A.JPG", 4, b"none")
        waits.set()
        connection.close()

    data = picture_bytes()
    with transaction.atomic():
        locks.share(upload, "a.jpg")
        late = threading.Thread(target=same_name)
        late.start()
        other: list[int] = []

        def other_name() -> None:
            other.append(Sender(cast.client(cast.alice), upload).create("b.jpg", len(data), data).status_code)
            connection.close()

        beside = threading.Thread(target=other_name)
        beside.start()
        beside.join(20)
        assert other == [201]
        assert not waits.wait(0.5)
    late.join(20)
    assert waits.is_set()
