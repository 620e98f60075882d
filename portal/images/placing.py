"""Which patient and exam an image belongs to, written. Patients and exams are created at first mention.

Locks are taken in this order by everybody (docs/DECISIONS.md): upload, images by id, patients by id, exams, jobs. Whoever writes a
row of an upload that has an image holds that image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from portal.core.statements import update_rows
from portal.images.models import Exam, Image, Patient, UploadFile
from portal.images.placement import OtherPatient, Placed, Said, decide, overwritten

Arrivals = Sequence[tuple[Image, UploadFile]]
NOT_MOVED = (
    "This image already belongs to patient {patient}; that was not changed. To change it, check the table on the upload's page first."
)


@dataclass(frozen=True, slots=True)
class Placing:
    """One image as it lies, and as its row, or somebody's hand, wants it."""

    image: Image
    now: Placed
    then: Placed
    exam_before: int | None
    row: UploadFile | None = None

    @property
    def changes(self) -> bool:
        return self.now != self.then

    @property
    def corrects(self) -> dict[str, tuple[Any, Any]]:
        """What was said before and is now said otherwise: field -> (old, new)."""
        return overwritten(self.now, self.then)


@dataclass(slots=True)
class Plan:
    """What a table would do to images that are here, and the rows that cannot be followed, with why."""

    placings: list[Placing] = field(default_factory=list)
    refused: list[tuple[UploadFile, str]] = field(default_factory=list)
    merged: dict[str, str] = field(default_factory=dict)
    """Codes that were merged, and the code that remains."""

    @property
    def changing(self) -> list[Placing]:
        return [one for one in self.placings if one.changes]

    @property
    def corrections(self) -> list[Placing]:
        return [one for one in self.placings if one.corrects]


def placed(image: Image) -> Placed:
    """What is said of an image now; its exam and patient are read with it."""
    exam = image.exam
    where = (exam.patient.code, exam.code, exam.day) if exam else ("", "", None)
    return Placed(*where, image.device, image.stated_kind, image.captured)


def plan(arrivals: Arrivals, *, may_move: bool = False) -> Plan:
    """What would become of these images of one site. Writes nothing: one statement."""
    found = Plan()
    if not arrivals:
        return found
    found.merged = merged_codes(arrivals[0][0].site_id, {row.patient_code for _, row in arrivals})
    for image, row in arrivals:
        now = placed(image)
        patient = found.merged.get(row.patient_code, row.patient_code)
        said = Said(patient, row.exam_code, row.device, row.stated_kind, row.captured)
        try:
            then = decide(now, said, received=image.created.date(), may_move=may_move)
        except OtherPatient:
            found.refused.append((row, NOT_MOVED.format(patient=now.patient)))
        else:
            found.placings.append(Placing(image, now, then, image.exam_id, row))
    return found


def merged_codes(site_id: int, codes: Collection[str]) -> dict[str, str]:
    """Those of a site's codes that were merged, and the code that remains of each."""
    rows = Patient.objects.filter(site=site_id, code__in=codes, merged_into__isnull=False)
    return dict(rows.values_list("code", "merged_into__code"))


def carry_out(wanted: Plan) -> list[Placing]:
    """Write a plan; all its images are locked by the caller. Returns what changed. A fixed number of statements."""
    changing = prepare(wanted)
    write_images(changing)
    return changing


def prepare(wanted: Plan) -> list[Placing]:
    """What of a plan changes: its patients and exams are there, and its images changed, though not yet written."""
    changing = wanted.changing
    elsewhere = [one for one in changing if (one.now.patient, one.now.exam) != (one.then.patient, one.then.exam)]
    exams = exams_for(elsewhere[0].image.site_id, {(p.then.patient, p.then.exam): p.then for p in elsewhere}) if elsewhere else {}
    for one in changing:
        one.image.exam = exams.get((one.then.patient, one.then.exam), one.image.exam)
        one.image.device, one.image.stated_kind, one.image.captured = one.then.device, one.then.stated_kind, one.then.captured
    return changing


def write_images(changed: Sequence[Placing]) -> None:
    update_rows([one.image for one in changed], ["exam", "device", "stated_kind", "captured"])


def exams_for(site_id: int, wanted: Mapping[tuple[str, str], Placed]) -> dict[tuple[str, str], Exam]:
    """The exam of each (patient, exam) code, made where it is new; its patient held against a merge until the transaction ends."""
    patients = hold_patients(site_id, {patient for patient, _ in wanted})
    keys = {pair: (patients[pair[0]].pk, pair[1]) for pair in wanted}
    new = {key: Exam(patient_id=key[0], code=key[1], day=wanted[pair].day) for pair, key in keys.items()}
    Exam.objects.bulk_create([new[key] for key in sorted(new)], ignore_conflicts=True, batch_size=2000)
    codes = {code for _, code in new}
    rows = Exam.objects.filter(patient__in={patient for patient, _ in new}, code__in=codes).select_related("patient")
    found = {(exam.patient_id, exam.code): exam for exam in rows}
    return {pair: found[key] for pair, key in keys.items()}


_HOLD = """
SELECT id, code, merged_into_id FROM images_patient WHERE site_id = %s AND (code = ANY(%s) OR id = ANY(%s)) ORDER BY id FOR SHARE
"""


def hold_patients(site_id: int, codes: Iterable[str]) -> dict[str, Patient]:
    """The patient of each code, made where it is new; of a merged one the patient that remains. Held until the transaction ends."""
    wanted = sorted(set(codes))
    Patient.objects.bulk_create([Patient(site_id=site_id, code=code) for code in wanted], ignore_conflicts=True, batch_size=2000)
    rows = _held(site_id, wanted, [])
    by_id = {pk: (code, root) for pk, code, root in rows}
    while missing := {root for _, root in by_id.values() if root} - by_id.keys():
        by_id |= {pk: (code, root) for pk, code, root in _held(site_id, [], sorted(missing))}

    def remaining(pk: int) -> int:
        root = by_id[pk][1]
        return remaining(root) if root else pk

    found = {code: remaining(pk) for pk, (code, _) in by_id.items()}
    return {code: Patient(pk=found[code], site_id=site_id, code=by_id[found[code]][0]) for code in wanted}


def _held(site_id: int, codes: Sequence[str], ids: Sequence[int]) -> list[tuple[int, str, int | None]]:
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, [site_id, list(codes), list(ids)])
        return list(cursor.fetchall())
