"""A table looked at first: what it would do is said before anything is written, and applied as it was seen."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.images import services, tables, wordings
from portal.images.dry_run import DryRun, dry_run
from portal.images.models import Correction, Exam, Image, MetadataTable, Patient, Upload, WordingOf
from portal.jobs.models import Job
from tests.cast import Cast, make_image
from tests.portal.images.conftest import Send, image_of, sanitise_all
from tests.portal.images.test_regroup import nobody_lies_in_a_tombstone, together
from tests.portal.images.workbooks import workbook

pytestmark = pytest.mark.django_db


def hold(cast: Cast, text: str | bytes, upload: Upload | None = None) -> MetadataTable:
    data = text.encode() if isinstance(text, str) else text
    return tables.hold_table(site=cast.north, upload=upload, data=data, name="may.csv", actor=cast.alice)


def apply(cast: Cast, held: MetadataTable, seen: DryRun | None = None) -> tables.Applied:
    return tables.apply_held(held=held, seen=(seen or dry_run(held)).digest, actor=cast.alice)


def everything() -> dict[str, int]:
    """How many rows every table of the portal has."""
    return {model._meta.label: model._default_manager.count() for model in apps.get_models() if model.__module__.startswith("portal.")}


def where(image: Image) -> tuple[str, str]:
    exam = Exam.objects.select_related("patient").get(images=image)
    return exam.patient.code, exam.code


def test_the_look_writes_nothing_and_says_all_that_would_happen(send: Send, upload: Upload, cast: Cast) -> None:
    placed = send("a.jpg")
    for name in ("b.jpg", "c.jpg"):
        send(name)
    services.apply_table(upload=upload, table_bytes=b"file,patient,exam\na.jpg,P1,V1\n", actor=cast.alice)
    sanitise_all()
    text = "file,patient,exam,stated_kind,captured\na.jpg,P2,V1,,\nb.jpg,P3,V1,purple,\nc.jpg,P1,V2,,soon\nlater.jpg,P4,V1,,\n,P5,,,\n"
    held = hold(cast, text, upload)
    before, image = everything(), Image.objects.filter(pk=image_of(placed).pk).values().get()
    files = list(upload.files.order_by("pk").values())
    run = dry_run(held)
    assert everything() == before
    assert list(upload.files.order_by("pk").values()) == files
    assert Image.objects.filter(pk=image_of(placed).pk).values().get() == image
    assert (len(run.parsed.rows), run.matched, run.waiting, run.unused, run.faults) == (5, 3, 1, 1, 3)
    assert (run.new_patients, run.new_exams, run.placed, run.corrected) == (3, 4, 2, 1)
    assert [(c.row, c.file, c.what, c.old, c.new) for c in run.changes] == [(2, "a.jpg", "patient", "P1", "P2")]
    wrong = {cell.at: cell.fault for line in run.lines for cell in line.cells if cell.fault}
    assert set(wrong) == {"D3", "E4", "A6"}
    assert "'purple' is not known" in wrong["D3"]
    assert "Write it as year-month-day" in wrong["E4"]
    assert wrong["A6"] == "The row names no file."


def test_what_was_seen_is_applied_and_a_patient_is_changed_as_a_version(send: Send, upload: Upload, cast: Cast) -> None:
    file = send("a.jpg")
    services.apply_table(upload=upload, table_bytes=b"file,patient,exam,device\na.jpg,P1,V1,Old\n", actor=cast.alice)
    sanitise_all()
    Image.objects.filter(pk=image_of(file).pk).update(state="analysed")
    held = hold(cast, "file,patient,exam,device,stated_kind,captured\na.jpg,P2,V2,New,regular,2024-05-01\n", upload)
    applied = apply(cast, held)
    image = image_of(file)
    assert (applied.versions, applied.placed, applied.unchanged) == (1, 1, False)
    assert where(image) == ("P2", "V2")
    assert (image.device, image.stated_kind, image.captured.date().isoformat() if image.captured else "") == (
        "New",
        "regular",
        "2024-05-01",
    )
    (version,) = Correction.objects.select_related("exam_before__patient")
    assert version.exam_before
    assert (version.exam_before.patient.code, version.device_before, version.device_after, version.kind_before) == ("P1", "Old", "New", "")
    assert (version.actor, version.table, version.row) == (cast.alice, held, 2)
    assert Job.objects.filter(kind="assess", subject_id=image.pk).count() == 1
    event = AuditEvent.objects.get(action="image.corrected")
    assert event.details["changes"]["device"] == ["Old", "New"]
    held.refresh_from_db()
    assert (held.cells, held.rows) == (b"", 1)
    with pytest.raises(WrongState, match="applied already"):
        apply(cast, held, dry_run(hold(cast, "file\na.jpg\n", upload)))


def test_the_same_table_twice_changes_nothing_and_says_so(send: Send, upload: Upload, cast: Cast) -> None:
    for name in ("a.jpg", "b.jpg"):
        send(name)
    text = "file,patient,exam,device\na.jpg,P1,V1,Cam\nb.jpg,P1,V1,Cam\ngone.jpg,P2,V1,\n,P9,,\n"
    apply(cast, hold(cast, text, upload))
    sanitise_all()
    counted = {**everything(), **dict.fromkeys(("images.MetadataTable", "audit.AuditEvent"))}
    rows = list(upload.files.order_by("pk").values())
    for again in ("looked at", "as it comes"):
        applied = (
            apply(cast, hold(cast, text, upload))
            if again == "looked at"
            else services.apply_table(upload=upload, table_bytes=text.encode(), actor=cast.alice)
        )
        assert (applied.unchanged, applied.versions, applied.placed) == (True, 0, 0), again
    assert {**everything(), **dict.fromkeys(("images.MetadataTable", "audit.AuditEvent"))} == counted
    assert list(upload.files.order_by("pk").values()) == rows


def test_without_a_look_no_image_changes_its_patient_but_what_else_changes_is_a_version(send: Send, upload: Upload, cast: Cast) -> None:
    one, two = send("a.jpg"), send("b.jpg")
    services.apply_table(upload=upload, table_bytes=b"file,patient,exam\na.jpg,P1,V1\nb.jpg,P1,V1\n", actor=cast.alice)
    sanitise_all()
    text = b"file,patient,exam\na.jpg,P2,V1\nb.jpg,P1,V2\n"
    applied = services.apply_table(upload=upload, table_bytes=text, actor=cast.alice)
    assert "already belongs to patient P1" in applied.errors[2]
    assert (where(image_of(one)), where(image_of(two))) == (("P1", "V1"), ("P1", "V2"))
    assert [version.image for version in Correction.objects.all()] == [image_of(two)]
    assert not Patient.objects.filter(code="P2").exists()


def test_a_table_of_the_site_finds_images_by_name_in_any_upload_and_by_number(send: Send, cast: Cast) -> None:
    first = make_image(cast.north, state="settled", patient="P1", name="day1/1.jpg")
    second = make_image(cast.north, state="settled", patient="P1", name="day2/1.jpg")
    third = make_image(cast.north, state="settled", patient=None, name="3.jpg")
    foreign = make_image(cast.river, state="settled", patient="R1", name="4.jpg")
    text = (
        "file,image,patient,exam\n1.jpg,,P2,E1\nday2/1.jpg,,P2,E1\n"
        f"3.jpg,,P3,E1\n4.jpg,,P4,E1\n,{foreign.pk},P5,E1\n,{first.pk},P6,E1\n,987654,P7,E1\n"
    )
    run = dry_run(held := hold(cast, text))
    applied = apply(cast, held, run)
    assert (where(first), where(second), where(third), where(foreign)) == (("P6", "E1"), ("P2", "E1"), ("P3", "E1"), ("R1", "E1"))
    assert applied.versions == 2
    assert "2 files are called so" in applied.errors[2]
    assert "No image of this site has this file's name" in applied.errors[5]
    assert applied.errors[6].replace(str(foreign.pk), "987654") == applied.errors[8]
    assert not Patient.objects.filter(site=cast.north, code__in=["P4", "P5", "P7"]).exists()


def test_a_table_of_the_site_places_an_image_that_is_still_to_be_cleaned(send: Send, cast: Cast) -> None:
    file = send("new.jpg")
    apply(cast, hold(cast, "file,patient,exam\nnew.jpg,P1,V1\n"))
    sanitise_all()
    assert where(image_of(file)) == ("P1", "V1")


def test_an_uploads_outcomes_can_be_corrected_and_sent_back(send: Send, upload: Upload, cast: Cast) -> None:
    file = send("a.jpg")
    services.apply_table(upload=upload, table_bytes=b"file,patient,exam\na.jpg,=P1,V1\n", actor=cast.alice)
    sanitise_all()
    outcomes = b"".join(cast.client(cast.alice).get(f"/uploads/{upload.pk}/outcomes.csv").streaming_content)  # type: ignore[attr-defined]
    assert dry_run(hold(cast, outcomes)).corrected == 0
    assert not dry_run(hold(cast, outcomes)).asks
    apply(cast, hold(cast, outcomes.replace(b"V1", b"V2")))
    assert where(image_of(file)) == ("=P1", "V2")


def test_an_exam_that_is_only_a_day_follows_a_corrected_day(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1", exam="2024-05-17", name="a.jpg")
    Exam.objects.filter(images=image).update(day="2024-05-17")
    apply(cast, hold(cast, "file,captured\na.jpg,2024-05-18\n"))
    assert where(image) == ("P1", "2024-05-18")
    apply(cast, hold(cast, "file,patient\na.jpg,P2\n"))
    assert where(image) == ("P2", "2024-05-18")


def test_a_new_patient_that_differs_in_capitals_alone_is_pointed_out(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="PAT-1")
    make_image(cast.river, state="settled", patient="OTHER-1")
    run = dry_run(hold(cast, "file,patient\nx.jpg,pat-1\ny.jpg,other-1\n", Upload.objects.filter(site=cast.north).first()))
    said = [notice for notice in run.notices if "in capitals alone" in notice]
    assert said == ["The new patient 'pat-1' differs from 'PAT-1', who is here, in capitals alone. Write it the same if it is one person."]


def test_unknown_columns_and_words_are_guessed_chosen_once_and_never_asked_again(send: Send, upload: Upload, cast: Cast) -> None:
    file = send("a.jpg")
    data = workbook(["Dateiname", "Patient No", "Visite", "Kamera", "Aufnahme", "Station"], ["a.jpg", "P1", "V1", "Cam 2", "grün", "3 Ost"])
    run = dry_run(held := hold(cast, data, upload))
    assert "The column 'file' is missing" in run.refused
    guesses = {head.name: head.guess for head in run.unknown_columns}
    assert guesses == {
        "Dateiname": "file",
        "Patient No": "patient",
        "Visite": "exam",
        "Kamera": "device",
        "Aufnahme": "stated_kind",
        "Station": "",
    }
    assert wordings.remember(site=cast.north, of=WordingOf.COLUMN, chosen=guesses, actor=cast.alice) == 6
    run = dry_run(held)
    assert (run.refused, run.unknown_columns) == ("", [])
    assert [(word.word, word.guess) for word in run.parsed.kinds] == [("grün", "green_filter")]
    wordings.remember(site=cast.north, of=WordingOf.KIND, chosen={"grün": "green_filter"}, actor=cast.alice)
    wordings.remember(site=cast.north, of=WordingOf.DEVICE, chosen={"Cam 2": "Gynocular"}, actor=cast.alice)
    apply(cast, held)
    sanitise_all()
    image = image_of(file)
    assert (where(image), image.device, image.stated_kind) == (("P1", "V1"), "Gynocular", "green_filter")
    again = services.apply_table(upload=upload, table_bytes=data, actor=cast.alice)
    assert again.unchanged
    assert not dry_run(hold(cast, data, upload)).asks
    events = AuditEvent.objects.filter(action="wording.set")
    assert [event.details["theirs"] for event in events.filter(details__of="kind")] == ["grün"]
    assert events.filter(details__of="column").count() == 6
    wordings.remember(site=cast.north, of=WordingOf.KIND, chosen={"GRÜN": "regular"}, actor=cast.lena)
    assert (events.latest("pk").details["before"], events.latest("pk").details["after"]) == ("green_filter", "regular")


def test_one_sites_words_mean_nothing_to_another(cast: Cast) -> None:
    wordings.remember(site=cast.north, of=WordingOf.KIND, chosen={"vili": "lugol_iodine"}, actor=cast.alice)
    assert wordings.words_of(cast.north).kinds == {"vili": "lugol_iodine"}
    assert wordings.words_of(cast.river).kinds == {}
    with pytest.raises(NotAllowed):
        wordings.remember(site=cast.north, of=WordingOf.KIND, chosen={"x": "regular"}, actor=cast.bob)
    with pytest.raises(BadInput, match="can only mean one of"):
        wordings.remember(site=cast.north, of=WordingOf.KIND, chosen={"x": "purple"}, actor=cast.alice)


@pytest.mark.parametrize("rows", [3, 60])
def test_look_and_application_take_a_fixed_number_of_queries(cast: Cast, rows: int) -> None:
    images = [make_image(cast.north, state="settled", patient=f"P{n}", name=f"{n}.jpg") for n in range(3)]
    text = "file,patient,exam\n" + "".join(f"{n}.jpg,Q{n},V{n}\n" for n in range(rows))
    held = hold(cast, text, images[0].upload)
    with CaptureQueriesContext(connection) as looked:
        run = dry_run(held)
    with CaptureQueriesContext(connection) as applied:
        apply(cast, held, run)
    assert (len(looked), len(applied)) <= (16, 40)
    with CaptureQueriesContext(connection) as of_site:
        dry_run(hold(cast, text))
    assert len(of_site) <= 24


# ---- races: real threads, real transactions ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_apply_what_they_saw_the_second_is_told_to_look_again(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", patient="P1", name="a.jpg")
    mine, theirs = (
        hold(cast, "file,patient\na.jpg,P2\n"),
        tables.hold_table(site=cast.north, upload=None, data=b"file,patient\na.jpg,P3\n", name="b.csv", actor=cast.lena),
    )
    seen = {held.pk: dry_run(held).digest for held in (mine, theirs)}
    raised = together(
        lambda: tables.apply_held(held=mine, seen=seen[mine.pk], actor=cast.alice),
        lambda: tables.apply_held(held=theirs, seen=seen[theirs.pk], actor=cast.lena),
    )
    assert [getattr(error, "code", "") for error in raised] == ["changed_since"]
    assert Correction.objects.filter(image=image).count() == 1
    assert where(image)[0] in ("P2", "P3")


@pytest.mark.django_db(transaction=True)
def test_tables_applied_at_once_while_files_arrive_and_are_cleaned_lose_nothing(send: Send, upload: Upload, cast: Cast) -> None:
    for n in range(6):
        send(f"{n}.jpg")
    table = ("file,patient,exam\n" + "".join(f"{n}.jpg,P{n % 3},V1\n" for n in range(12))).encode()

    def apply_often() -> None:
        for _ in range(5):
            services.apply_table(upload=upload, table_bytes=table, actor=cast.alice)

    def arrive() -> None:
        for n in range(6, 12):
            send(f"{n}.jpg")

    raised = together(apply_often, apply_often, arrive, sanitise_all)
    sanitise_all()
    assert raised == []
    images = Image.objects.filter(upload=upload).select_related("exam__patient")
    placed = {image.original_name: image.exam.patient.code if image.exam else None for image in images}
    assert placed == {f"{n}.jpg": f"P{n % 3}" for n in range(12)}
    assert nobody_lies_in_a_tombstone()
    assert not Correction.objects.exists()


def test_an_application_that_breaks_leaves_nothing(send: Send, upload: Upload, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    send("a.jpg")
    sanitise_all()
    held = hold(cast, "file,patient\na.jpg,P1\n", upload)
    seen, before = dry_run(held), everything()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(tables, "follow", broken)
    with pytest.raises(RuntimeError):
        apply(cast, held, seen)
    assert everything() == before
