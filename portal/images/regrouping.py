"""Wrong patient: images moved to another, two patients merged, one split. Each leaves versions, an event and work, and can be undone.

Locks in the order of everybody: images by id, then patients by id. Who stands where is read again under them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.images.corrections import write_down
from portal.images.models import Exam, Image, Patient, Regrouping, RegroupingKind, UploadFile
from portal.images.patients import here
from portal.images.placement import Placed
from portal.images.placing import Placing, placed

_TRIES = 5


class _Moved(Exception):
    """An image came to a patient, or left one, between the look and the lock."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and to how many images."""

    regrouping: Regrouping
    target: Patient
    images: int


def move_images(*, source: Patient, images: Sequence[int], to_code: str, actor: User) -> Done:
    """Move images of one patient to another patient of the same site, under the codes of their exams. Other ids are passed over."""
    target = _called(source.site_id, to_code)
    if target is None:
        raise BadInput(f"There is no patient {_code(to_code)} at this site. Check the code, or split the images off as a new patient.")
    return _again(lambda: _regroup(RegroupingKind.MOVE, source, _root(target), actor, images))


def split_patient(*, source: Patient, images: Sequence[int], new_code: str, actor: User) -> Done:
    """Give chosen images of a patient to a new one with a code of its own."""
    code = _code(new_code)
    if _called(source.site_id, code):
        raise BadInput(f"There is a patient {code} already. Choose a code that no patient of this site has, or move the images there.")

    return _again(lambda: _regroup(RegroupingKind.SPLIT, source, code, actor, images))


def merge_patients(*, source: Patient, into_code: str, actor: User) -> Done:
    """All images of `source` to another patient of the site; its code leads later tables there."""
    target = _called(source.site_id, into_code)
    if target is None:
        raise BadInput(f"There is no patient {_code(into_code)} at this site. Check the code.")
    return _again(lambda: _regroup(RegroupingKind.MERGE, source, _root(target), actor, None))


def undo(*, regrouping: Regrouping, actor: User) -> Done:
    """Every image back to where it was. Raises WrongState where one has been changed since, or it is undone already."""
    return _again(lambda: _undo(regrouping, actor))


# ---- one transaction --------------------------------------------------------------------------------------------------


def _again(once: Callable[[], Done]) -> Done:
    """Whoever comes between the look and the lock makes us look again."""
    for _ in range(_TRIES):
        try:
            with transaction.atomic():
                return once()
        except _Moved:
            continue
    raise WrongState("Images of this patient are being changed at this moment. Try again.")


def _regroup(kind: RegroupingKind, source: Patient, to: Patient | str, actor: User, chosen: Sequence[int] | None) -> Done:
    """`to`: a patient, or the code of a new one. `chosen`: ids of the source's images, or None for all of them."""
    access.require(actor, "correct", site=source.site_id)
    if source == to:
        raise BadInput(f"That is patient {source.code} itself. Name another patient.")
    images = _hold(source, chosen)
    target = to if isinstance(to, Patient) else _new_patient(source, to)
    held = _hold_patients(source, target)
    _refuse_merged(held)
    if chosen is None and _ids(source) != {image.pk for image in images}:
        raise _Moved
    if not images and chosen is not None:
        raise BadInput("Choose the images first: none was marked, or they are no longer this patient's.")
    row = Regrouping.objects.create(site_id=source.site_id, actor=actor, kind=kind, source=source, target=target)
    exams = _exams_at(target, {image.exam for image in images if image.exam})
    changed = [_placing(image, exams[image.exam_id]) for image in images if image.exam_id]
    if kind == RegroupingKind.MERGE:
        # whoever was merged into the source follows it, so that a tombstone never leads to another
        Patient.objects.filter(merged_into=source).update(merged_into=target)
        Patient.objects.filter(pk=source.pk).update(merged_into=target)
    return _written(row, changed, held[target.pk], actor)


def _new_patient(source: Patient, code: str) -> Patient:
    """After the images are held, as everybody who names patients does."""
    patient, made = Patient.objects.get_or_create(site_id=source.site_id, code=code)
    if not made and _called(source.site_id, code):
        raise BadInput(f"There is a patient {code} already. Choose another code.")
    return patient


def _undo(regrouping: Regrouping, actor: User) -> Done:
    access.require(actor, "correct", site=regrouping.site_id)
    if regrouping.kind == RegroupingKind.UNDO:
        raise WrongState("What was undone is not undone again: do it anew.")
    steps = list(regrouping.corrections.select_related("exam_before__patient", "exam_after"))
    images = {image.pk: image for image in _locked([step.image_id for step in steps])}
    is_merge = regrouping.kind == RegroupingKind.MERGE
    held = _hold_patients(regrouping.source, regrouping.target)
    if Regrouping.objects.filter(undoes=regrouping).exists():
        raise WrongState("This is undone already. Reload the page.")
    _refuse_merged(held, but=regrouping.source_id if is_merge else None)
    if since := [step for step in steps if images[step.image_id].exam_id != step.exam_after_id]:
        raise WrongState(f"{len(since)} of these images were moved again since. Move them by hand instead.")
    row = Regrouping.objects.create(
        site_id=regrouping.site_id, actor=actor, kind=RegroupingKind.UNDO, source=regrouping.target, target=regrouping.source,
        undoes=regrouping,
    )  # fmt: skip
    if is_merge:
        Patient.objects.filter(pk__in=_merged_before(regrouping.source)).update(merged_into=regrouping.source)
        Patient.objects.filter(pk=regrouping.source_id).update(merged_into=None)
    changed = [_placing(images[step.image_id], step.exam_before) for step in steps if step.exam_before]
    done = _written(row, changed, held[regrouping.source_id], actor)
    if regrouping.kind == RegroupingKind.SPLIT:
        _let_go(regrouping.target, row, actor)
    return done


def _let_go(patient: Patient, undo: Regrouping, actor: User) -> None:
    """The patient whom the undone split had made goes, unless an image, a merge or a table has given it a name of its own since."""
    named = UploadFile.objects.filter(upload__site=patient.site_id, patient_code=patient.code)
    if _ids(patient) or patient.merged.exists() or named.exists():
        return
    Patient.objects.filter(pk=patient.pk).update(gone=Now())
    record(actor_id=actor.pk, action="patient.gone", subject=patient, site_id=patient.site_id, undo=undo.pk)


def _written(row: Regrouping, changed: Sequence[Placing], target: Patient, actor: User) -> Done:
    Image.objects.bulk_update([one.image for one in changed], ["exam"], batch_size=500)
    write_down(changed, actor=actor, regrouping=row)
    record(
        actor_id=actor.pk, action=f"patient.{row.kind}", subject=row, site_id=row.site_id, source=row.source_id, target=row.target_id,
        images=[one.image.pk for one in changed][:1000], exams=sorted({one.exam_before or 0 for one in changed}),
        exams_after=sorted({one.image.exam_id or 0 for one in changed}), undoes=row.undoes_id,
    )  # fmt: skip
    return Done(row, target, len(changed))


def _hold(source: Patient, chosen: Sequence[int] | None) -> list[Image]:
    wanted = _ids(source) if chosen is None else _ids(source) & set(chosen)
    return [image for image in _locked(wanted) if image.exam and image.exam.patient_id == source.pk]


def _ids(patient: Patient) -> set[int]:
    return set(Image.objects.filter(exam__patient=patient).values_list("pk", flat=True))


def _locked(ids: Iterable[int]) -> list[Image]:
    rows = Image.objects.filter(pk__in=set(ids)).order_by("pk").select_for_update(no_key=True, of=("self",))
    return list(rows.select_related("exam__patient"))


def _hold_patients(source: Patient, target: Patient) -> dict[int, Patient]:
    """Both, against tables that would place images there, and against each other merge."""
    return {row.pk: row for row in Patient.objects.filter(pk__in=[source.pk, target.pk]).order_by("pk").select_for_update()}


def _refuse_merged(held: dict[int, Patient], *, but: int | None = None) -> None:
    gone = next((row for row in held.values() if row.merged_into_id and row.pk != but), None)
    if gone:
        raise WrongState(f"Patient {gone.code} was merged into another meanwhile. Reload the page.")


def _merged_before(patient: Patient) -> set[int]:
    """Whoever had been merged into this patient, at first or second hand, before he was merged himself."""
    merges = Regrouping.objects.filter(site=patient.site_id, kind=RegroupingKind.MERGE, undone_by=None)
    into: dict[int, set[int]] = {}
    for source, target in merges.values_list("source", "target"):
        into.setdefault(target, set()).add(source)
    found: set[int] = set()
    front = into.get(patient.pk, set())
    while front:
        found |= front
        front = {source for target in front for source in into.get(target, ())} - found
    return found


def _exams_at(target: Patient, exams: Iterable[Exam]) -> dict[int, Exam]:
    """For each exam its counterpart at the target: one of the same code and day is the same visit; another day makes it a visit apart."""
    there = {exam.code: exam for exam in target.exams.all()}
    found: dict[int, Exam] = {}
    for exam in sorted(exams, key=lambda one: one.pk):
        same = there.get(exam.code)
        if same and same.day and exam.day and same.day != exam.day:
            same = there.get(_apart(exam))
        if same is None:
            code = exam.code if exam.code not in there else _apart(exam)
            same = there[code] = Exam.objects.get_or_create(patient=target, code=code, defaults={"day": exam.day})[0]
        found[exam.pk] = same
    return found


def _apart(exam: Exam) -> str:
    """A visit of another day under a code that the target has too."""
    return f"{exam.code[:68]} {exam.day.isoformat() if exam.day else exam.pk}"


def _placing(image: Image, exam: Exam) -> Placing:
    now = placed(image)
    before = image.exam_id
    image.exam = exam
    then: Placed = replace(now, patient=exam.patient.code, exam=exam.code, day=exam.day)
    return Placing(image, now, then, before)


def _root(patient: Patient) -> Patient:
    return patient.merged_into or patient


def _called(site_id: int, code: str) -> Patient | None:
    return here(Patient.objects.filter(site=site_id, code=_code(code))).first()


def _code(text: str) -> str:
    code = " ".join("".join(c for c in text if c.isprintable()).split())
    if not 0 < len(code) <= 80:
        raise BadInput("Write the patient's code, at most 80 characters.")
    return code
