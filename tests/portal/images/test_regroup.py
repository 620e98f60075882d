"""Wrong patient: move, merge, split; each with versions, an event, work to judge anew, and a way back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed, WrongState
from portal.images import patients, regrouping, services
from portal.images.models import Correction, Exam, Image, Patient, Regrouping, Upload
from portal.jobs.models import Job
from tests.cast import Cast, make_image
from tests.portal.images.conftest import Send, image_of, sanitise_all

pytestmark = pytest.mark.django_db


def patient(cast: Cast, code: str) -> Patient:
    return Patient.objects.get(site=cast.north, code=code)


def where(image: Image) -> tuple[str, str]:
    exam = Exam.objects.select_related("patient").get(images=image)
    return exam.patient.code, exam.code


def queued() -> set[int]:
    return set(Job.objects.filter(kind="assess", state="queued").values_list("subject_id", flat=True))


def pair(cast: Cast) -> tuple[Image, Image, Image]:
    """Two images of P1 in V1, one of P2 in V1."""
    return (
        make_image(cast.north, state="settled", patient="P1", exam="V1"),
        make_image(cast.north, state="in_review", patient="P1", exam="V1", p_non_regular=0.5),
        make_image(cast.north, state="settled", patient="P2", exam="V1"),
    )


def test_moved_images_leave_versions_an_event_and_work_for_both_exams(cast: Cast) -> None:
    one, stays, _ = pair(cast)
    done = regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="P2", actor=cast.alice)
    assert (done.images, where(one), where(stays)) == (1, ("P2", "V1"), ("P1", "V1"))
    (version,) = Correction.objects.all()
    assert version.exam_before
    assert version.exam_after
    assert (version.image, version.actor, version.exam_before.patient.code, version.exam_after.patient.code) == (
        one,
        cast.alice,
        "P1",
        "P2",
    )
    event = AuditEvent.objects.get(action="patient.move")
    assert (event.actor_id, event.details["images"]) == (cast.alice.pk, [one.pk])
    assert (event.details["source"], event.details["target"]) == (patient(cast, "P1").pk, patient(cast, "P2").pk)
    assert queued() == {one.pk, stays.pk}
    moved = AuditEvent.objects.get(action="image.corrected", subject_id=one.pk)
    assert moved.details["changes"]["exam"] == [version.exam_before_id, version.exam_after_id]


def test_a_merged_code_is_a_tombstone_that_leads_later_tables_to_the_patient_that_remains(send: Send, upload: Upload, cast: Cast) -> None:
    pair(cast)
    regrouping.merge_patients(source=patient(cast, "P1"), into_code="P2", actor=cast.lena)
    assert patient(cast, "P1").merged_into == patient(cast, "P2")
    assert not Image.objects.filter(exam__patient__code="P1").exists()
    file = send("late.jpg")
    applied = services.apply_table(upload=upload, table_bytes=b"file,patient,exam\nlate.jpg,P1,V9\n", actor=cast.alice)
    sanitise_all()
    assert where(image_of(file)) == ("P2", "V9")
    after = send("later.jpg")
    applied = services.apply_table(upload=upload, table_bytes=b"file,patient,exam\nlate.jpg,P1,V9\nlater.jpg,P1,V9\n", actor=cast.alice)
    sanitise_all()
    assert where(image_of(after)) == ("P2", "V9")
    assert "Patient P1 was merged into P2: what the table says of P1 goes to P2." in applied.notices
    assert not Correction.objects.filter(image=image_of(file)).exists()


def test_merging_a_patient_that_others_were_merged_into_takes_these_along(cast: Cast) -> None:
    for code in ("A", "B", "C"):
        make_image(cast.north, state="settled", patient=code)
    regrouping.merge_patients(source=patient(cast, "A"), into_code="B", actor=cast.alice)
    regrouping.merge_patients(source=patient(cast, "B"), into_code="C", actor=cast.alice)
    assert {one.merged_into for one in Patient.objects.filter(code__in=["A", "B"])} == {patient(cast, "C")}
    assert Image.objects.filter(exam__patient__code="C").count() == 3
    regrouping.undo(regrouping=Regrouping.objects.get(source__code="B"), actor=cast.alice)
    assert (patient(cast, "A").merged_into, patient(cast, "B").merged_into) == (patient(cast, "B"), None)
    assert Image.objects.filter(exam__patient__code="B").count() == 2


def test_visits_of_one_code_on_two_days_stay_two_visits(cast: Cast) -> None:
    one, _, other = pair(cast)
    Exam.objects.filter(images=one).update(day="2026-03-01")
    Exam.objects.filter(images=other).update(day="2026-04-01")
    regrouping.merge_patients(source=patient(cast, "P1"), into_code="P2", actor=cast.alice)
    assert where(one) == ("P2", "V1 2026-03-01")
    assert where(other) == ("P2", "V1")


def test_a_split_gives_chosen_images_to_a_new_patient(cast: Cast) -> None:
    one, stays, _ = pair(cast)
    regrouping.split_patient(source=patient(cast, "P1"), images=[one.pk], new_code=" P3 ", actor=cast.alice)
    assert (where(one), where(stays)) == (("P3", "V1"), ("P1", "V1"))
    with pytest.raises(BadInput, match="There is a patient P2 already"):
        regrouping.split_patient(source=patient(cast, "P1"), images=[stays.pk], new_code="P2", actor=cast.alice)


@pytest.mark.parametrize("kind", ["move", "merge", "split"])
def test_each_is_undone_with_every_image_where_it_was(cast: Cast, kind: str) -> None:
    one, other, third = pair(cast)
    before = [where(image) for image in (one, other, third)]
    source = patient(cast, "P1")
    done = {
        "move": lambda: regrouping.move_images(source=source, images=[one.pk], to_code="P2", actor=cast.alice),
        "merge": lambda: regrouping.merge_patients(source=source, into_code="P2", actor=cast.alice),
        "split": lambda: regrouping.split_patient(source=source, images=[one.pk], new_code="P3", actor=cast.alice),
    }[kind]()
    assert [where(image) for image in (one, other, third)] != before
    exams = set(Image.objects.values_list("pk", "exam"))
    regrouping.undo(regrouping=done.regrouping, actor=cast.lena)
    assert [where(image) for image in (one, other, third)] == before
    assert patient(cast, "P1").merged_into is None
    assert set(Image.objects.values_list("pk", "exam")) != exams
    assert AuditEvent.objects.get(action="patient.undo").details["undoes"] == done.regrouping.pk
    with pytest.raises(WrongState, match="undone already"):
        regrouping.undo(regrouping=done.regrouping, actor=cast.lena)


def _listed(cast: Cast) -> set[str]:
    page = patients.patients(cast.alice, patients.PatientFilter())
    assert page.total == len(page.patients)
    return {found.code for found in page.patients}


def test_the_patient_of_an_undone_split_goes_and_its_code_is_free_again(cast: Cast) -> None:
    one, *_ = pair(cast)
    for _ in range(2):
        done = regrouping.split_patient(source=patient(cast, "P1"), images=[one.pk], new_code="P3", actor=cast.alice)
        assert "P3" in _listed(cast)
        regrouping.undo(regrouping=done.regrouping, actor=cast.alice)
        assert "P3" not in _listed(cast)
    gone = patient(cast, "P3")
    event = AuditEvent.objects.filter(action="patient.gone").latest("pk")
    assert (event.subject_id, event.actor_id, event.site_id) == (gone.pk, cast.alice.pk, cast.north.pk)
    assert "was undone on" in cast.client(cast.alice).get(f"/patients/{gone.pk}/").content.decode()
    for refused in (
        lambda: regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="P3", actor=cast.alice),
        lambda: regrouping.merge_patients(source=patient(cast, "P1"), into_code="P3", actor=cast.alice),
    ):
        with pytest.raises(BadInput, match="no patient P3"):
            refused()
    services.apply_table(upload=one.upload, table_bytes=b"file,patient\nlater.jpg,P3\n", actor=cast.alice)
    later = make_image(cast.north, state="settled", patient="P3", exam="V9")
    assert "P3" in _listed(cast)
    assert where(later) == ("P3", "V9")


def test_a_patient_with_an_image_or_a_name_of_its_own_stays_when_its_split_is_undone(cast: Cast) -> None:
    one, *_ = pair(cast)
    done = regrouping.split_patient(source=patient(cast, "P1"), images=[one.pk], new_code="P3", actor=cast.alice)
    make_image(cast.north, state="settled", patient="P3", exam="V9")
    regrouping.undo(regrouping=done.regrouping, actor=cast.alice)
    done = regrouping.split_patient(source=patient(cast, "P1"), images=[one.pk], new_code="P4", actor=cast.alice)
    services.apply_table(upload=one.upload, table_bytes=b"file,patient\nlater.jpg,P4\n", actor=cast.alice)
    regrouping.undo(regrouping=done.regrouping, actor=cast.alice)
    assert {"P3", "P4"} <= _listed(cast)
    assert not AuditEvent.objects.filter(action="patient.gone").exists()


def test_what_was_moved_again_is_not_undone_over_it(cast: Cast) -> None:
    one, *_ = pair(cast)
    done = regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="P2", actor=cast.alice)
    regrouping.split_patient(source=patient(cast, "P2"), images=[one.pk], new_code="P3", actor=cast.alice)
    with pytest.raises(WrongState, match="1 of these images were moved again"):
        regrouping.undo(regrouping=done.regrouping, actor=cast.alice)
    assert where(one) == ("P3", "V1")


def test_nothing_goes_to_another_sites_patient_and_nothing_of_one_comes(cast: Cast) -> None:
    one, *_ = pair(cast)
    foreign = make_image(cast.river, patient="R1", state="settled")
    with pytest.raises(BadInput) as other:
        regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="R1", actor=cast.alice)
    with pytest.raises(BadInput) as absent:
        regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="R9", actor=cast.alice)
    assert str(other.value).replace("R1", "R9") == str(absent.value)
    with pytest.raises(BadInput, match="none was marked"):
        regrouping.move_images(source=patient(cast, "P1"), images=[foreign.pk], to_code="P2", actor=cast.alice)
    with pytest.raises(NotAllowed):
        regrouping.move_images(source=patient(cast, "P1"), images=[one.pk], to_code="P2", actor=cast.bob)
    assert where(foreign) == ("R1", "E1")


@pytest.mark.parametrize("number", [2, 12])
def test_a_merge_takes_a_fixed_number_of_queries(cast: Cast, number: int, django_assert_max_num_queries: Any) -> None:
    for n in range(number):
        make_image(cast.north, state="settled", patient="P1", exam=f"V{n % 2}")
    make_image(cast.north, state="settled", patient="P2")
    with django_assert_max_num_queries(32):
        regrouping.merge_patients(source=patient(cast, "P1"), into_code="P2", actor=cast.alice)


# ---- races: real threads, real transactions ---------------------------------------------------------------------------


def together(*works: Callable[[], object]) -> list[Exception]:
    """Run these at once, each in a thread with a connection of its own; what they raised."""
    start, raised = threading.Barrier(len(works)), []

    def run(work: Callable[[], object]) -> None:
        try:
            start.wait()
            work()
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def nobody_lies_in_a_tombstone() -> bool:
    return not Image.objects.filter(exam__patient__merged_into__isnull=False).exists()


@pytest.mark.django_db(transaction=True)
def test_two_merges_of_one_patient_at_once_are_one_merge(cast: Cast) -> None:
    for code in ("A", "B", "C"):
        make_image(cast.north, state="settled", patient=code)
    a, b = patient(cast, "A"), patient(cast, "B")
    raised = together(
        lambda: regrouping.merge_patients(source=a, into_code="B", actor=cast.alice),
        lambda: regrouping.merge_patients(source=b, into_code="A", actor=cast.lena),
        lambda: regrouping.merge_patients(source=a, into_code="C", actor=cast.lena),
    )
    assert all(isinstance(error, WrongState | BadInput) for error in raised), raised
    assert nobody_lies_in_a_tombstone()
    assert not Patient.objects.filter(merged_into__merged_into__isnull=False).exists()
    assert Regrouping.objects.count() == 3 - len(raised)


@pytest.mark.django_db(transaction=True)
def test_a_table_that_names_a_patient_while_he_is_merged_leaves_no_image_behind(send: Send, upload: Upload, cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="A", exam="V1")
    make_image(cast.north, state="settled", patient="B", exam="V1")
    for n in range(6):
        send(f"{n}.jpg")
    sanitise_all()
    source = patient(cast, "A")
    tables = [f"file,patient,exam\n{n}.jpg,A,V{n % 2}\n".encode() for n in range(6)]

    def apply_all() -> None:
        for one in tables:
            services.apply_table(upload=upload, table_bytes=one, actor=cast.alice)

    raised = together(apply_all, lambda: regrouping.merge_patients(source=source, into_code="B", actor=cast.lena))
    assert raised == []
    assert nobody_lies_in_a_tombstone()
    assert Image.objects.filter(exam__patient__code="B").count() == 8
    assert not Correction.objects.filter(exam_before=F("exam_after")).exists()
