"""A patient is erased: out of every queue, list, export and folder; no word or byte of the person is left, only what explains models."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection

from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.erasure import services, work
from portal.erasure.subjects import Subject, of_exam, of_image, of_patient
from portal.holdings.models import ErasedFile, Erasure, SiteHolding
from portal.images import services as images
from portal.images import storage
from portal.images.models import Correction, Exam, Image, MetadataTable, Patient, UploadFile
from portal.jobs import services as jobs
from portal.learning.models import Evaluation
from portal.pipeline.invariants import violations
from portal.reviews.leases import lease_next
from portal.reviews.models import Lease, ReviewTask
from tests.cast import Cast, make_evaluation, make_image, make_read, make_run, make_snapshot, make_version, picture_bytes

pytestmark = pytest.mark.django_db(transaction=True)
WORD = "Zebra7731"
"""Stands in every place where a person's data may stand."""


def _marked(cast: Cast, state: str, number: int, **about: Any) -> Image:
    image = make_image(cast.north, state=state, patient=f"{WORD}-patient", exam=f"{WORD}-exam", name=f"{WORD}-{number}.jpg", **about)
    Image.objects.filter(pk=image.pk).update(device=f"{WORD} camera")
    UploadFile.objects.filter(image=image).update(
        message=f"Already here as {WORD}.jpg", patient_code=f"{WORD}-patient", exam_code=f"{WORD}-exam", device=f"{WORD}", table_error=WORD
    )
    SiteHolding.objects.get_or_create(site=cast.north)
    held = SiteHolding.objects.get(site=cast.north)
    SiteHolding.objects.filter(site=cast.north).update(files=held.files + 1, bytes=held.bytes + image.size)
    image.refresh_from_db()
    return image


def _patient(cast: Cast) -> tuple[list[Image], Subject]:
    """Two settled images, one that a reader holds, one rejected, all of one patient."""
    found = [_marked(cast, state, number) for number, state in enumerate(("settled", "settled", "in_review", "rejected"))]
    assert found[0].exam is not None
    return found, of_patient(found[0].exam.patient)


def _erase(cast: Cast, subject: Subject) -> Erasure:
    erasure = services.ask(subject=subject, typed=subject.code, actor=cast.lena)
    for claim in jobs.claim("erase", worker="w"):
        work.erase(claim)
    erasure.refresh_from_db()
    return erasure


def _rows_with(word: str) -> dict[str, int]:
    """Every table that holds the word in any column."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            cursor.execute(f'SELECT count(*) FROM "{model._meta.db_table}" AS t WHERE t::text ILIKE %s', [f"%{word}%"])
            if count := cursor.fetchone()[0]:
                found[model._meta.label] = count
    return found


def _files() -> dict[str, bytes]:
    roots = (settings.ORIGINALS_DIR, settings.CLEAN_DIR, settings.SNAPSHOTS_DIR)
    return {str(path): path.read_bytes() for root in roots for path in Path(root).rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"
    settings.SNAPSHOTS_DIR = tmp_path / "snapshots"


def test_not_a_word_of_the_person_is_left_in_any_table_or_file(cast: Cast) -> None:
    found, subject = _patient(cast)
    make_snapshot(*found[:2])
    for closed in ReviewTask.objects.filter(state="closed"):
        make_read(closed, cast.ravi)
    task = ReviewTask.objects.get(image=found[2], state="open")
    ReviewTask.objects.filter(pk=task.pk).update(note=WORD)
    make_read(task=task, reader=cast.rita, kind="cannot_tell", note=f"{WORD} said")
    names = {blob for image in found for blob in (image.sha256, image.clean_sha256) if blob}
    assert {"images.Image", "images.Patient", "images.Exam", "images.UploadFile", "reviews.Read"} <= set(_rows_with(WORD))
    erasure = _erase(cast, subject)
    assert (erasure.state, erasure.images, erasure.files) == ("done", sorted(image.pk for image in found), [])
    assert _rows_with(WORD) == {}
    for name in names:
        assert _rows_with(name) == {}, name
    for path, data in _files().items():
        assert WORD.encode() not in data, path
        assert not any(name in path or name.encode() in data for name in names), path
    # the rows of the tests themselves are made without a word in the trail
    assert {name for name in violations() if not name.startswith("unaudited") and "audit" not in name} == set()


def test_codes_of_merged_patients_corrections_and_tables_that_wait_are_gone_too(cast: Cast) -> None:
    found, subject = _patient(cast)
    assert found[0].exam is not None
    other = Patient.objects.create(site=cast.north, code=f"{WORD}-other", merged_into_id=subject.pk)
    Exam.objects.create(patient=other, code=f"{WORD}-older")
    Correction.objects.create(image=found[0], actor=cast.alice, exam_before=found[0].exam, device_before=WORD, device_after=WORD)
    MetadataTable.objects.create(site=cast.north, created_by=cast.alice, name="t.csv", sha256="0", cells=WORD.encode())
    snapshot = make_snapshot(*found[:2])
    with pgtrigger.ignore():
        snapshot.items.update(exam=found[0].exam, device=WORD)
    _erase(cast, subject)
    assert _rows_with(WORD) == {}
    assert _rows_with(WORD.encode().hex()) == {}
    assert list(snapshot.items.filter(exam=None, device="", split="train").values_list("image", flat=True)) == [i.pk for i in found[:2]]
    assert Correction.objects.get().exam_before is None


def test_another_patient_of_the_site_keeps_everything(cast: Cast) -> None:
    _, subject = _patient(cast)
    other = make_image(cast.north, state="settled", patient="Q")
    before = {path for path in _files() if other.sha256 in path or other.clean_sha256 in path}
    _erase(cast, subject)
    other.refresh_from_db()
    assert other.state == "settled"
    assert before <= set(_files())
    assert len(before) == 3


def test_the_same_clean_bytes_of_another_living_image_stay(cast: Cast) -> None:
    found, subject = _patient(cast)
    twin = make_image(cast.north, state="settled", patient="Q")
    Image.objects.filter(pk=twin.pk).update(clean_sha256=found[0].clean_sha256)
    river = make_image(cast.river, state="clean")
    _erase(cast, subject)
    assert storage.clean_path(cast.north.pk, found[0].clean_sha256, "jpg").is_file()
    assert not storage.clean_path(cast.north.pk, found[1].clean_sha256, "jpg").exists()
    assert storage.clean_path(cast.river.pk, river.clean_sha256, "jpg").is_file()


def test_a_reader_who_holds_it_loses_it_and_nobody_gets_it_again(cast: Cast) -> None:
    found, subject = _patient(cast)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    assert lease.task.image_id == found[2].pk
    _erase(cast, subject)
    lease.refresh_from_db()
    assert lease.ended is not None
    assert lease_next(reader=cast.ravi) is None
    assert cast.client(cast.ravi).get(f"/reading/picture/{lease.token}/").status_code == 404
    assert not Lease.objects.filter(ended=None).exists()


def test_what_explains_models_stays_and_what_shows_the_person_goes(cast: Cast) -> None:
    found, subject = _patient(cast)
    _erase(cast, subject)
    shell = Image.objects.get(pk=found[0].pk)
    said, label = shell.analyses.get(), shell.labels.get()
    assert (said.embedding, said.box, said.other_boxes, said.quality, said.colour) == ([], None, [], {}, [])
    assert (said.kind, label.kind, label.box, label.current) == ("regular", "regular", None, False)
    assert (shell.state, shell.exam, shell.original_name) == ("erased", None, "")


def test_a_frozen_data_set_loses_the_pictures_and_still_explains_itself(cast: Cast) -> None:
    found, subject = _patient(cast)
    others = [make_image(cast.north, state="settled", patient="Q") for _ in range(2)]
    snapshot = make_snapshot(*found[:2], *others)
    frozen = json.loads((Path(snapshot.folder) / "snapshot.json").read_text())["hash"]
    erasure = _erase(cast, subject)
    folder = Path(snapshot.folder)
    assert {path.stem for path in (folder / "images").iterdir()} == {image.clean_sha256 for image in others}
    about = json.loads((folder / "snapshot.json").read_text())
    manifest = (folder / "manifest.csv").read_bytes()
    assert (about["images"], about["erased"], about["frozen_hash"]) == (2, 2, frozen)
    assert about["hash"] == hashlib.sha256(manifest).hexdigest() != frozen
    told = list(csv.DictReader((folder / "erased.csv").open()))
    assert [(int(row["image"]), int(row["erasure"]), row["split"]) for row in told] == [
        (image.pk, erasure.pk, "train") for image in found[:2]
    ]
    page = cast.client(cast.max).get(f"/snapshots/{snapshot.pk}/").content.decode()
    assert "2 of its images were taken back since, 2 of them erased" in page


def test_downloads_leave_it_out_and_say_so(cast: Cast) -> None:
    found, subject = _patient(cast)
    snapshot = make_snapshot(*found[:2], make_image(cast.north, state="settled", patient="Q"))
    _erase(cast, subject)
    browser = cast.client(cast.max)
    archive = zipfile.ZipFile(io.BytesIO(b"".join(browser.get(f"/snapshots/{snapshot.pk}/regular.zip").streaming_content)))  # type: ignore[attr-defined]
    assert sum(name.endswith(".jpg") for name in archive.namelist()) == 1
    assert "Left out: 2 images of this data set" in archive.read("README.txt").decode()
    for address in (f"/snapshots/{snapshot.pk}/images.csv", f"/collection/{cast.north.pk}/images.csv"):
        lines = b"".join(browser.get(address).streaming_content).decode()  # type: ignore[attr-defined]
        assert len(lines.splitlines()) == 2
    assert f"/images/{found[0].pk}/" not in browser.get("/images/").content.decode()
    assert [row["id"] for row in browser.get("/api/v1/images/").json()["results"]] == [Image.objects.exclude(state="erased").get().pk]


def test_the_tombstone_names_every_data_set_and_model_that_used_it_and_no_person(cast: Cast) -> None:
    found, subject = _patient(cast)
    snapshot = make_snapshot(*found[:2])
    learned, child, measured, grown = (make_version(name=name) for name in ("learned", "child", "measured", "grown"))
    make_version(name="stranger")
    run = make_run(snapshot, state="done")
    type(run).objects.filter(pk=run.pk).update(candidate=learned)
    later = make_run(make_snapshot(make_image(cast.north, state="settled", patient="Q")), state="done")
    type(later).objects.filter(pk=later.pk).update(candidate=child, config={**later.config, "start": learned.pk})
    last = make_run(make_snapshot(make_image(cast.north, state="settled", patient="R")), state="done")
    type(last).objects.filter(pk=last.pk).update(candidate=grown, config={**last.config, "start": None, "weights": child.pk, "anew": []})
    make_evaluation(measured, snapshot, images=[{"sha256": found[0].clean_sha256, "kind": "regular"}, {"sha256": "x", "kind": "regular"}])
    erasure = _erase(cast, subject)
    assert [one["id"] for one in erasure.used_in["data_sets"]] == [snapshot.pk]
    assert [(one["name"], one["how"].split()[0]) for one in erasure.used_in["models"]] == [
        ("learned", "learned"), ("child", "started"), ("grown", "started"), ("measured", "measured"),
    ]  # fmt: skip
    assert Evaluation.objects.get(version=measured).report["images"] == [{"sha256": "x", "kind": "regular"}]
    browser = cast.client(cast.lena)
    page = browser.get(f"/erasures/{erasure.pk}/").content.decode()
    assert "Done. Nothing of the person is left here." in page
    lines = b"".join(browser.get(f"/erasures/{erasure.pk}/used-in.csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert [line.split(",")[2] for line in lines.splitlines()[1:]] == [snapshot.name, "learned", "child", "grown", "measured"]
    assert cast.client(cast.bob).get(f"/erasures/{erasure.pk}/").status_code == 404


def test_a_killed_erasure_goes_on_from_where_it_was(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the first batch of rows, then after the disk, then let through."""
    found, subject = _patient(cast)
    snapshot = make_snapshot(*found[:2])
    monkeypatch.setattr(work, "_BATCH", 2)
    erasure = services.ask(subject=subject, typed=subject.code, actor=cast.lena)
    seen = []
    for point in ("erasure_rows=raise", "erasure_rows=raise", "erasure_disk=raise", ""):
        settings.FAULTS = point
        (claim,) = jobs.claim("erase", worker="w")
        try:
            work.erase(claim)
        except Exception:
            jobs.release([claim])
        erasure.refresh_from_db()
        seen.append((erasure.state, len(erasure.images)))
    assert seen == [("waiting", 2), ("waiting", 4), ("waiting", 4), ("done", 4)]
    assert _rows_with(WORD) == {}
    assert json.loads((Path(snapshot.folder) / "snapshot.json").read_text())["erased"] == 2
    assert not [path for path in _files() if any(image.sha256 in path for image in found)]


def test_the_site_cannot_send_it_again_until_its_lead_says_so_and_others_know_nothing(cast: Cast) -> None:
    data = picture_bytes()
    image = _marked(cast, "settled", 1, data=data)
    erasure = _erase(cast, of_image(image))
    upload = images.open_upload(site=cast.north, actor=cast.alice)
    again = images.receive(upload=upload, file=io.BytesIO(data), name="a.jpg", actor=cast.alice)
    assert (again.outcome, again.image) == ("rejected", None)
    assert "erased at your site's wish" in again.message
    theirs = images.open_upload(site=cast.river, actor=cast.bob)
    assert images.receive(upload=theirs, file=io.BytesIO(data), name="a.jpg", actor=cast.bob).outcome == "accepted"
    assert hashlib.sha256(data).hexdigest() not in str(ErasedFile.objects.values().get())
    with pytest.raises(NotAllowed):
        services.lift(erasure=erasure, actor=cast.alice)
    assert services.lift(erasure=erasure, actor=cast.lena) == 1
    back = images.receive(upload=upload, file=io.BytesIO(data), name="b.jpg", actor=cast.alice)
    assert back.outcome == "accepted"
    assert back.image_id != image.pk


def test_an_exam_alone_is_erased_and_the_patients_other_exam_stays(cast: Cast) -> None:
    gone = _marked(cast, "settled", 1)
    kept = make_image(cast.north, state="settled", patient=f"{WORD}-patient", exam="E2")
    assert gone.exam is not None
    _erase(cast, of_exam(gone.exam))
    kept.refresh_from_db()
    assert (kept.state, gone.exam is not None) == ("settled", True)
    assert Patient.objects.filter(code=f"{WORD}-patient").exists()
    assert Exam.objects.get(pk=gone.exam.pk).code == f"erased-{gone.exam_id}"


def test_only_the_lead_erases_and_only_by_typing_what_it_is(cast: Cast) -> None:
    _, subject = _patient(cast)
    for user in (cast.alice, cast.sys, cast.max):
        with pytest.raises(NotAllowed):
            services.ask(subject=subject, typed=subject.code, actor=user)
    with pytest.raises(BadInput, match="patient's code"):
        services.ask(subject=subject, typed="something", actor=cast.lena)
    services.ask(subject=subject, typed=f" {subject.code} ", actor=cast.lena)
    with pytest.raises(WrongState, match="already"):
        services.ask(subject=subject, typed=subject.code, actor=cast.lena)


def test_the_lead_withdraws_or_erases_from_the_patients_page(cast: Cast) -> None:
    found, subject = _patient(cast)
    browser = cast.client(cast.lena)
    address = f"/patients/{subject.pk}/take-back/"
    assert address in browser.get(f"/patients/{subject.pk}/").content.decode()
    assert address not in cast.client(cast.alice).get(f"/patients/{subject.pk}/").content.decode()
    assert "4 images, 3 of them in use" in browser.get(address).content.decode()
    assert browser.post(address, {"what": "withdraw", "reason": " "}).status_code == 400
    assert browser.post(address, {"what": "withdraw", "reason": "consent"}).status_code == 302
    assert set(Image.objects.filter(pk__in=[i.pk for i in found]).values_list("state", flat=True)) == {"withdrawn", "rejected"}
    assert browser.post(address, {"what": "erase", "typed": "wrong"}).status_code == 400
    answer = browser.post(address, {"what": "erase", "typed": subject.code})
    assert answer.headers["Location"].startswith("/erasures/")
    assert "under way" in browser.get(answer.headers["Location"]).content.decode()
    assert "waiting" in browser.get(f"/sites/{cast.north.pk}/erasures/").content.decode()


def test_the_counters_of_the_site_go_down(cast: Cast) -> None:
    found, subject = _patient(cast)
    assert SiteHolding.objects.get(site=cast.north).files == len(found)
    _erase(cast, subject)
    held = SiteHolding.objects.get(site=cast.north)
    assert (held.files, held.bytes) == (0, 0)
