"""Which patient and exam an image belongs to. Both are created at first mention; a change of patient is never made silently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from portal.images.models import Exam, Image, Patient, UploadFile


def place(arrivals: Sequence[tuple[Image, UploadFile]]) -> tuple[list[Image], dict[int, str]]:
    """Give images the patient, exam, device and kind that their rows name; all images of one site, each locked by the caller.

    Returns the images that changed, and for each row's id that could not be followed, why. A fixed number of queries.
    """
    wanted: list[tuple[Image, UploadFile]] = []
    refused: dict[int, str] = {}
    for image, row in arrivals:
        if row.patient_code and image.exam is not None and image.exam.patient.code != row.patient_code:
            refused[row.pk] = f"This image already belongs to patient {image.exam.patient.code}; that was not changed."
        else:
            wanted.append((image, row))
    exams = _exams([(image, row) for image, row in wanted if row.patient_code and image.exam is None])
    for image, row in wanted:
        image.exam = exams.get(row.pk, image.exam)
        image.device = row.device or image.device
        image.stated_kind = row.stated_kind or image.stated_kind
    changed = [image for image, _ in wanted]
    Image.objects.bulk_update(changed, ["exam", "device", "stated_kind"], batch_size=1000)
    return changed, refused


def _exams(arrivals: Sequence[tuple[Image, UploadFile]]) -> dict[int, Exam]:
    """The exam of each row's id, made where it is new."""
    if not arrivals:
        return {}
    patients = _patients(arrivals[0][0].site_id, (row.patient_code for _, row in arrivals))
    keys = {row.pk: (patients[row.patient_code].pk, *_exam_of(image, row)) for image, row in arrivals}
    new = {(patient, code): Exam(patient_id=patient, code=code, day=day) for patient, code, day in keys.values()}
    Exam.objects.bulk_create([new[k] for k in sorted(new)], ignore_conflicts=True, batch_size=1000)
    found = {
        (exam.patient_id, exam.code): exam
        for exam in Exam.objects.filter(patient__in={patient for patient, _ in new}, code__in={c for _, c in new})
    }
    return {row: found[patient, code] for row, (patient, code, _) in keys.items()}


def _exam_of(image: Image, row: UploadFile) -> tuple[str, date | None]:
    """(code, day): as the row says, else one exam per capture day, else per upload day."""
    captured = image.captured.date() if image.captured else None
    day = captured or image.created.date()
    return (row.exam_code, captured) if row.exam_code else (day.isoformat(), day)


def _patients(site_id: int, codes: Iterable[str]) -> dict[str, Patient]:
    wanted = sorted(set(codes))
    Patient.objects.bulk_create([Patient(site_id=site_id, code=code) for code in wanted], ignore_conflicts=True, batch_size=1000)
    return {patient.code: patient for patient in Patient.objects.filter(site_id=site_id, code__in=wanted)}
