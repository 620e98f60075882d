"""A ZIP archive comes in: each of its files is a file that was sent, and whatever is wrong with one is said at that one."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.test import TestCase
from django.urls import reverse

from portal.audit.models import AuditEvent
from portal.images import archives, selectors, services, storage
from portal.images.models import UPLOAD_CANCELLED, Archive, FileOutcome, Image, ImageState, Upload, UploadFile
from portal.jobs import services as jobs
from portal.jobs.models import Job
from portal.pipeline.invariants import HARMLESS, violations
from tests.cast import Cast
from tests.portal.images import pictures, zips
from tests.portal.images.conftest import Send, fresh, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def unpack_all() -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        while claims := jobs.claim("unpack", worker="test"):
            archives.unpack_claimed(claims)


def outcomes(upload: Upload) -> dict[str, str]:
    return {row.name: row.outcome for row in upload.files.order_by("pk")}


def message(upload: Upload, name: str) -> str:
    return upload.files.get(name=name).message


def test_each_file_of_an_archive_is_taken_by_its_path_inside(send: Send, upload: Upload, cast: Cast, stores: Path) -> None:
    data = pictures.encoded()
    row = send("may.zip", zips.zipped({"p1/a.jpg": data, "p2/deep/er/b.png": zips.picture(), "c.png": zips.picture()}))
    assert (row.outcome, Image.objects.count()) == (FileOutcome.UNPACKING, 0)
    unpack_all()
    assert outcomes(upload) == {"may.zip": "unpacked", "p1/a.jpg": "accepted", "p2/deep/er/b.png": "accepted", "c.png": "accepted"}
    assert fresh(row).message == "Files in it: 3 (3 accepted). The archive itself was not kept."
    image = Image.objects.get(original_name="p1/a.jpg")
    assert storage.original_path(cast.north.pk, image.sha256).read_bytes() == data
    assert list((stores / "originals" / ".archives").iterdir()) == []
    assert AuditEvent.objects.filter(action="image.received", actor_id=cast.alice.pk).count() == 3
    assert AuditEvent.objects.filter(action="archive.unpacked", subject_id=row.pk, site_id=cast.north.pk).exists()
    sanitise_all()
    assert set(Image.objects.values_list("state", flat=True)) == {"clean"}


def test_a_packed_archive_is_read_as_well_as_a_stored_one(send: Send, upload: Upload) -> None:
    send("a.zip", zips.zipped({"a.png": zips.picture()}, method=zipfile.ZIP_DEFLATED))
    unpack_all()
    assert outcomes(upload)["a.png"] == "accepted"


def test_the_one_folder_that_holds_all_is_left_out_of_names(send: Send, upload: Upload) -> None:
    send("a.zip", zips.names("May/", "May/p1/a.png", "May/p2/a.png"))
    unpack_all()
    assert set(outcomes(upload)) == {"a.zip", "p1/a.png", "p2/a.png"}


def test_what_computers_leave_in_folders_is_left_out_and_counted(send: Send, upload: Upload) -> None:
    litter = ["__MACOSX/x/._a.png", ".DS_Store", "x/Thumbs.db", "x/desktop.ini", "x/.hidden/b.png"]
    row = send("a.zip", zips.names("x/a.png", *litter))
    unpack_all()
    assert set(outcomes(upload)) == {"a.zip", "a.png"}
    assert "Left out: 5 hidden files of the computer" in fresh(row).message


@pytest.mark.parametrize("named", ["p1/a.png", "May/p1/a.png", "may.zip/May/p1/a.png", "P1/A.PNG"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_the_table_finds_a_file_by_its_path_in_the_archive(send: Send, upload: Upload, cast: Cast, named: str, when: str) -> None:
    def table() -> None:
        services.apply_table(upload=upload, table_bytes=f"file,patient\n{named},P7\n".encode(), actor=cast.alice)

    if when == "before":
        table()
    send("may.zip", zips.names("May/p1/a.png", "May/p2/b.png"))
    unpack_all()
    if when == "after":
        table()
    services.close_upload(upload=upload, actor=cast.alice)
    row = upload.files.get(table_row=2)
    assert (row.outcome, row.patient_code) == ("accepted", "P7")
    assert not upload.files.filter(outcome__in=["missing", "not_used", "expected"]).exists()


def test_two_archives_with_files_of_one_name_keep_both(send: Send, upload: Upload) -> None:
    send("one.zip", zips.names("a.png"))
    send("two.zip", zips.names("a.png"))
    unpack_all()
    assert outcomes(upload) == {"one.zip": "unpacked", "two.zip": "unpacked", "a.png": "accepted", "two.zip/a.png": "accepted"}


def test_a_closed_upload_still_takes_what_arrived_and_settles_its_table_after_that(send: Send, upload: Upload, cast: Cast) -> None:
    services.apply_table(upload=upload, table_bytes=b"file,patient\na.png,P1\nnever.png,P2\nx/b.png,P3\n", actor=cast.alice)
    send("a.zip", zips.names("a.png", "y/b.png"))
    services.close_upload(upload=upload, actor=cast.alice)
    assert not upload.files.filter(outcome="missing").exists()
    unpack_all()
    assert outcomes(upload) == {"a.zip": "unpacked", "a.png": "accepted", "y/b.png": "accepted", "never.png": "missing"}
    assert set(upload.files.values_list("patient_code", flat=True)) == {"", "P1", "P2", "P3"}


def test_a_cancelled_upload_takes_no_more_of_an_archive_and_does_not_keep_it(send: Send, upload: Upload, cast: Cast, stores: Path) -> None:
    row = send("a.zip", zips.names("a.png"))
    (claim,) = jobs.claim("unpack", worker="slow")
    with TestCase.captureOnCommitCallbacks(execute=True):
        services.cancel_upload(upload=upload, actor=cast.alice)
    archives.unpack_claimed([claim])
    assert (fresh(row).outcome, fresh(row).message) == (FileOutcome.REJECTED, UPLOAD_CANCELLED)
    assert not Image.objects.exists()
    assert list((stores / "originals" / ".archives").iterdir()) == []
    assert [p.name for p in (stores / "originals" / ".incoming").iterdir()] == []


def test_what_is_cancelled_while_it_is_read_stops_there(send: Send, upload: Upload, cast: Cast, monkeypatch: Any) -> None:
    send("a.zip", zips.names(*(f"{n}.png" for n in range(40))))
    (claim,) = jobs.claim("unpack", worker="w")
    take, taken = services.take_in, []

    def one(*given: Any, **more: Any) -> UploadFile:
        taken.append(1)
        return take(*given, **more)

    monkeypatch.setattr(services, "take_in", one)
    write = archives._Unpacking._write

    def then_cancel(self: archives._Unpacking) -> None:
        write(self)
        if not upload.__class__.objects.get(pk=upload.pk).cancelled:
            services.cancel_upload(upload=upload, actor=cast.alice)

    monkeypatch.setattr(archives._Unpacking, "_write", then_cancel)
    archives.unpack_claimed([claim])
    assert len(taken) == 16
    assert set(Image.objects.values_list("state", flat=True)) == {ImageState.WITHDRAWN}
    assert Job.objects.get(kind="unpack").state == "cancelled"


def test_a_worker_that_dies_in_the_middle_is_followed_by_one_that_goes_on(send: Send, upload: Upload, monkeypatch: Any) -> None:
    row = send("a.zip", zips.names(*(f"{n:02}.png" for n in range(40))))

    class Dead(BaseException):
        pass

    points: list[str] = []

    def die(point: str) -> None:
        points.append(point)
        if points.count("before_unpack_commit") == 2:
            raise Dead

    monkeypatch.setattr(archives, "fault", die)
    with pytest.raises(Dead):
        archives.unpack_claimed(jobs.claim("unpack", worker="dies"))
    assert Archive.objects.get().done == 16
    monkeypatch.undo()
    Job.objects.filter(kind="unpack").update(state="queued", lease_until=None)
    stored: list[str] = []
    keep = storage.keep_original

    def kept(site: int, spooled: storage.Spooled) -> Path:
        stored.append(spooled.sha256)
        return keep(site, spooled)

    monkeypatch.setattr(storage, "keep_original", kept)
    unpack_all()
    assert len(stored) == 24, "what had its outcome is not read into the store again"
    assert list(outcomes(upload)) == ["a.zip", *(f"{n:02}.png" for n in range(40))]
    assert fresh(row).message.startswith("Files in it: 40 (40 accepted).")
    assert {n: rows for n, rows in violations().items() if n not in HARMLESS and not n.startswith("unaudited")} == {}


def test_a_late_unpacker_writes_nothing(send: Send) -> None:
    row = send("a.zip", zips.names("a.png"))
    claims = jobs.claim("unpack", worker="first")
    Job.objects.update(attempt=2)
    archives.unpack_claimed(claims)
    assert fresh(row).outcome == FileOutcome.UNPACKING
    assert not Image.objects.exists()


def test_a_long_archive_is_unpacked_in_turns(send: Send, upload: Upload, monkeypatch: Any) -> None:
    send("a.zip", zips.names(*(f"{n}.png" for n in range(40))))
    monkeypatch.setattr(archives, "_TURN_SECONDS", 0)
    archives.unpack_claimed(jobs.claim("unpack", worker="w"))
    assert (Archive.objects.get().done, Archive.objects.get().members) == (16, 40)
    assert Job.objects.get(kind="unpack").state == "queued"
    unpack_all()
    assert list(outcomes(upload).values()) == ["unpacked", *["accepted"] * 40]


def test_the_same_archive_sent_twice_is_one(send: Send, upload: Upload, stores: Path) -> None:
    data = zips.names("a.png")
    first, again = send("a.zip", data), send("copy.zip", data)
    assert first.pk == again.pk
    unpack_all()
    assert send("a.zip", data).pk == first.pk
    assert list((stores / "originals" / ".archives").iterdir()) == []
    assert not Job.objects.filter(kind="unpack").exclude(state="done").exists()


def test_an_archive_sent_in_another_upload_finds_its_files_already_here(send: Send, cast: Cast) -> None:
    data = zips.names("a.png")
    send("a.zip", data)
    unpack_all()
    other = services.open_upload(site=cast.north, actor=cast.alice)
    row = send("a.zip", data, to=other)
    unpack_all()
    assert outcomes(other) == {"a.zip": "unpacked", "a.png": "duplicate"}
    assert "1 already here" in fresh(row).message


@pytest.mark.parametrize(
    ("archive", "name", "says"),
    [
        (zips.with_infos(zips.link("x.jpg", "/etc/passwd"), zips.member("good.png")), "x.jpg", "link or a device"),
        (zips.with_infos(zips.member("x.jpg", mode=stat.S_IFIFO), zips.member("good.png")), "x.jpg", "link or a device"),
        (zips.locked("x.jpg"), "x.jpg", "locked with a password"),
        (zips.wrong_checksum("x.jpg"), "x.jpg", "damaged inside the archive"),
        (zips.zipped({"x.jpg": zips.names("in.png"), "good.png": zips.picture()}), "x.jpg", "an archive inside an archive"),
        (zips.zipped({"x.jpg": b"", "good.png": zips.picture()}), "x.jpg", "empty (0 bytes)"),
        (zips.zipped({"x.jpg": b"<html>", "good.png": zips.picture()}), "x.jpg", "not a picture"),
        (zips.zipped({"x.csv": b"file,patient\n", "good.png": zips.picture()}), "x.csv", "beside the archive"),
        (zips.zipped({"x.jpg": zips.picture(), "good.png": zips.picture()}, method=zipfile.ZIP_LZMA), "x.jpg", "an ordinary ZIP"),
        (zips.zipped({"x.jpg": b"\xff\xd8\xff" + bytes(70_000_000), "good.png": zips.picture()}), "x.jpg", "more than 60 MB"),
        (zips.bomb(head=b"\xff\xd8\xff").replace(b"bomb.jpg", b"bomb.png"), "bomb.png", "packed more than 200-fold"),
        (zips.entry(zips.names("x.jpg", "good.png"), "x.jpg", 24, "<I", 50), "x.jpg", "damaged inside the archive"),
        (zips.entry(zips.names("x.jpg", "good.png"), "x.jpg", 16, "<I", 7), "x.jpg", "damaged inside the archive"),
    ],
)
def test_what_is_wrong_with_one_file_is_said_there_and_the_others_go_on(
    send: Send, upload: Upload, archive: bytes, name: str, says: str, tmp_path: Path
) -> None:
    row = send("a.zip", archive)
    unpack_all()
    assert outcomes(upload)[name] == FileOutcome.REJECTED
    assert says in message(upload, name)
    assert zipfile.ZIP_LZMA in {i.compress_type for i in zipfile.ZipFile(io.BytesIO(archive)).infolist()} or (
        outcomes(upload)["good.png"] == FileOutcome.ACCEPTED
    )
    assert fresh(row).outcome == FileOutcome.UNPACKED
    assert list((tmp_path / "originals" / ".incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("archive", "says"),
    [
        (zips.end(0, 0, 0), "holds no files"),
        (zips.names("a/", "b/"), "holds no files"),
        (zips.names(".DS_Store"), "holds no files"),
        (zips.names("a.png")[:-30], "damaged or was not copied completely"),
        (zips.names("a.png")[:100], "damaged or was not copied completely"),
        (b"PK\x03\x04" + bytes(2000), "damaged or was not copied completely"),
        (zips.overlapping(), "built to burst"),
        (zips.names("a.png", "[Content_Types].xml"), "an office document"),
        (zips.many(20_001), "more than 20000 files"),
        (zips.many(400_000), "more than 20000 files"),
        (zips.entry(zips.entry(zips.names("a.png"), "a.png", 24, "<I", 0xFFFFFFF0), "a.png", 20, "<I", 0xFFFFFFF0), "more than|damaged|GB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_archive_of_which_nothing_can_be_had_is_refused_in_words(
    send: Send, upload: Upload, archive: bytes, says: str, stores: Path, settings: Any
) -> None:
    settings.MAX_ARCHIVE_BYTES = 100_000_000
    row = send("a.zip", archive)
    unpack_all()
    assert fresh(row).outcome == FileOutcome.REJECTED
    assert any(word in fresh(row).message for word in says.split("|")), fresh(row).message
    assert list((stores / "originals" / ".archives").iterdir()) == []
    assert Job.objects.get(kind="unpack").state == "done"


def test_names_lead_nowhere(send: Send, upload: Upload, tmp_path: Path) -> None:
    given = ["../../../../tmp/x.png", "/etc/y.png", "C:\\Windows\\z.png", "a/../../b.png", "..\\..\\w.png", "./v.png"]
    send("a.zip", zips.names(*given))
    unpack_all()
    assert set(outcomes(upload)) == {"a.zip", "tmp/x.png", "etc/y.png", "C:/Windows/z.png", "a/b.png", "w.png", "v.png"}
    assert {path.parent.name for path in tmp_path.rglob("*") if path.is_file()} == {str(upload.site_id)}


def test_of_two_files_with_one_name_the_first_is_taken_and_the_other_named(send: Send, upload: Upload) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zips.with_infos(zips.member("a.png"), zips.member("a.png"), zips.member("b.png"))
    send("a.zip", archive)
    unpack_all()
    assert [row.outcome for row in upload.files.filter(name__endswith="a.png").order_by("pk")] == ["accepted", "rejected"]
    assert "another file of this name" in upload.files.get(outcome="rejected").message


@pytest.mark.parametrize("first", ["[Content_Types].xml", "word/document.xml", "mimetype"])
def test_office_documents_are_refused_at_the_door(send: Send, first: str) -> None:
    row = send("letter.docx", zips.zipped({first: b"x"}))
    assert (row.outcome, "an office document" in row.message) == (FileOutcome.REJECTED, True)
    assert not Archive.objects.exists()


@pytest.mark.parametrize("head", [b"Rar!\x1a\x07\x01\0", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b\x08", b"PK\x07\x08"])
def test_other_archives_are_refused_with_what_to_do(send: Send, head: bytes) -> None:
    row = send("a.rar", head + bytes(600))
    assert row.outcome == FileOutcome.REJECTED
    assert "ack it" in row.message


def test_an_archive_over_the_limit_is_refused_while_it_comes(send: Send, settings: Any, stores: Path) -> None:
    settings.MAX_ARCHIVE_BYTES = 1_000_000
    row = send("a.zip", zips.zipped({"a.jpg": bytes(3_000_000)}))
    assert (row.outcome, "more than 1 MB" in row.message) == (FileOutcome.REJECTED, True)
    assert [p for p in stores.rglob("*") if p.is_file()] == []


def test_more_than_an_archive_may_hold_is_refused_before_anything_is_unpacked(send: Send, settings: Any) -> None:
    settings.MAX_ARCHIVE_BYTES = 1_000_000
    row = send("a.zip", zips.zipped({f"{n}.jpg": bytes(400_000) for n in range(3)}, method=zipfile.ZIP_DEFLATED))
    unpack_all()
    assert (fresh(row).outcome, "Send it in parts" in fresh(row).message) == (FileOutcome.REJECTED, True)
    assert not Image.objects.exists()


def test_a_full_disk_refuses_no_archive(send: Send, monkeypatch: Any) -> None:
    row = send("a.zip", zips.names("a.png"))
    claims = jobs.claim("unpack", worker="w")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "spool", full)
    with pytest.raises(jobs.TryLater, match="No space left"):
        archives.unpack_claimed(claims)
    assert fresh(row).outcome == FileOutcome.UNPACKING
    assert jobs.still_held(claims) == claims


def test_work_that_killed_its_worker_too_often_refuses_the_archive_which_may_be_sent_again(send: Send) -> None:
    data = zips.names("a.png")
    row = send("a.zip", data)
    (claim,) = jobs.claim("unpack", worker="w")
    archives.give_up(claim, "The worker died three times.")
    assert (fresh(row).outcome, "died three times" in fresh(row).message) == (FileOutcome.REJECTED, True)
    assert Job.objects.get(kind="unpack").state == "failed"
    again = send("a.zip", data)
    unpack_all()
    assert fresh(again).outcome == FileOutcome.UNPACKED


def test_an_archive_that_a_crash_left_in_the_store_is_swept(send: Send, stores: Path, monkeypatch: Any) -> None:
    send("a.zip", zips.names("a.png"))
    left = storage.archive_path(99, "0" * 64)
    left.write_bytes(b"PK")
    old = storage.archives_on_disk
    assert archives.sweep_archives() == 0, "not before a day has gone by"
    monkeypatch.setattr(storage, "archives_on_disk", lambda: old(older_than=-1))
    assert archives.sweep_archives() == 1
    assert not left.exists()
    unpack_all()
    assert Archive.objects.get().done == 1


def test_the_page_shows_how_far_the_unpacking_is_and_polls_until_it_is_through(
    cast: Cast, send: Send, upload: Upload, monkeypatch: Any
) -> None:
    client, live = cast.client(cast.alice), reverse("upload_live", args=[upload.pk])
    send("may.zip", zips.names(*(f"{n}.png" for n in range(20))))
    services.close_upload(upload=upload, actor=cast.alice)
    assert "may.zip: waits to be unpacked" in client.get(live).content.decode()
    monkeypatch.setattr(archives, "_TURN_SECONDS", 0)
    archives.unpack_claimed(jobs.claim("unpack", worker="w"))
    page = client.get(live).content.decode()
    assert "may.zip: 16 of 20 files unpacked" in page
    assert "hx-trigger" in page
    unpack_all()
    Image.objects.update(state="rejected", state_reason="a test")
    page = client.get(live).content.decode()
    assert "archive, unpacked" in page
    assert "20 files" not in page.split("</div>")[1]
    assert "hx-trigger" not in page


def test_an_archive_is_no_problem_of_its_own(cast: Cast, send: Send, upload: Upload) -> None:
    send("a.zip", zips.zipped({"a.png": zips.picture(), "b.txt": b"words"}))
    unpack_all()
    assert [row.name for row in selectors.upload_files(upload, only="problems")] == ["a.png", "b.txt"]
    assert selectors.upload_counts(upload)["files"] == 2
    (listed,) = selectors.uploads(cast.alice)
    assert (listed.n_files, listed.n_unpacked) == (2, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [3, 12])
def test_a_batch_of_members_takes_a_fixed_number_of_queries_each(send: Send, count: int, django_assert_max_num_queries: Any) -> None:
    send("a.zip", zips.names(*(f"{n}.png" for n in range(count))))
    claims = jobs.claim("unpack", worker="w")
    with django_assert_max_num_queries(20 + 14 * count):
        archives.unpack_claimed(claims)


def test_image_of_an_archive_has_its_own_row(send: Send, upload: Upload) -> None:
    send("a.zip", zips.names("a.png"))
    unpack_all()
    assert image_of(upload.files.get(name="a.png")).original_name == "a.png"
