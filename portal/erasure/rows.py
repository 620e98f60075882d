"""What the rows of erased images lose: every word and picture of the person. What explains data sets and models stays: kinds and counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db.models import BinaryField, CharField, DateField, F, Field, JSONField, Model, Q, TextField, Value
from django.db.models.functions import Cast, Concat

from portal.analyses.models import Assessment
from portal.holdings import services as holdings
from portal.holdings import tokens
from portal.holdings.models import ErasedFile, Erasure
from portal.images.models import Arrival, Exam, Image, ImageState, Likeness, MetadataTable, NearDuplicate, Patient, TextFound, UploadFile
from portal.jobs.models import Job
from portal.labels.models import Label
from portal.learning.models import Evaluation
from portal.reviews.models import Draft, Read

ERASED = "erased"
KEPT: dict[str, frozenset[str]] = {
    "analyses.Analysis": frozenset({"detector_state", "probabilities", "kind", "route", "reasons"}),
    "analyses.Assessment": frozenset({"siblings", "kind", "route", "reasons", "rule"}),
    "labels.Label": frozenset({"kind", "provenance", "reasons", "basis"}),
    "reviews.ReviewTask": frozenset({"reasons", "state", "closed", "purpose"}),
    "datasets.SnapshotItem": frozenset({"split"}),
    "images.UploadFile": frozenset({"outcome"}),
}
"""What rows about an erased image keep of their texts, lists and days: all else is emptied, in tables that come later too."""

GONE = (Likeness, NearDuplicate)
"""Rows that are nothing but the picture."""


def erase(erasure: Erasure, images: Sequence[Image]) -> None:
    """In the caller's transaction: these images, locked and out of every queue, become shells; their blobs' names go to the erasure."""
    ids = [image.pk for image in images]
    blobs = [(image.sha256, [image.clean_sha256, image.clean_format], image.pk) for image in images]
    names = {image.pk: image.sha256 for image in images}
    left = TextFound.objects.filter(image__in=ids).exclude(replaced=[]).values_list("image", "replaced")
    blobs += [(names[pk], picture, pk) for pk, replaced in left for picture in replaced]
    erasure.files = [*erasure.files, *([pk, sha256, *picture] for sha256, picture, pk in blobs)]
    erasure.images = sorted({*erasure.images, *ids})
    erasure.save(update_fields=["files", "images"])
    ErasedFile.objects.bulk_create(
        [ErasedFile(site_id=image.site_id, erasure=erasure, token=tokens.of(image.site_id, image.sha256)) for image in images],
        ignore_conflicts=True,
    )
    holdings.forget(site_id=erasure.site_id, files=len(images), size=sum(image.size for image in images))
    _what_was_said(ids, {image.clean_sha256 for image in images if image.clean_sha256})
    _what_was_sent(UploadFile.objects.filter(image__in=ids).values_list("pk", flat=True))
    Image.objects.filter(pk__in=ids).update(
        state=ImageState.ERASED, state_reason="", exam=None, original_name="", device="", captured=None, stated_kind="", width=None,
        height=None, clean_sha256="", clean_format="", format="", size=0, sha256=Concat(Value("erased-"), Cast(F("pk"), TextField())),
    )  # fmt: skip


def _what_was_said(ids: Sequence[int], clean: set[str]) -> None:
    """By machines and people. Only what counts is kept, and counts no longer."""
    NearDuplicate.objects.filter(Q(image__in=ids) | Q(other__in=ids)).delete()
    Likeness.objects.filter(image__in=ids).delete()
    Draft.objects.filter(task__image__in=ids).delete()
    # some of these rows nothing else ever changes; here alone they are, and only to lose what they said
    with pgtrigger.ignore():
        for relation in Image._meta.related_objects:
            if relation.related_model not in GONE:
                _empty(relation.related_model, relation.field.name, ids)
        Label.objects.filter(image__in=ids).update(current=False)
        Read.objects.filter(task__image__in=ids).update(box=None, note="")
    Assessment.objects.filter(image__in=ids, current=True).update(current=False)
    Job.objects.filter(subject_id__in=ids, kind__in=["sanitise", "analyse", "assess", "compare"]).exclude(error="").update(error="Erased.")
    for evaluation in Evaluation.objects.filter(snapshot__items__image__in=ids).distinct():
        _leave_out(evaluation, clean)


def _empty(model: type[Model], path: str, ids: Sequence[int]) -> None:
    kept = KEPT.get(model._meta.label, frozenset())
    empty = {field.name: value for field in model._meta.concrete_fields if field.name not in kept for value in _emptied(field)}
    if empty:
        model._default_manager.filter(**{f"{path}__in": ids}).update(**empty)


def _emptied(field: Field[Any, Any]) -> Iterator[Any]:
    """What a column holds when it says nothing: words, lists, bytes, days, whose exam it was. Not other keys, numbers, the row's day."""
    if field.null and field.related_model in (Exam, Patient):
        yield None
    if field.name == "created" or field.is_relation or field.primary_key:
        return
    if field.null and isinstance(field, CharField | TextField | ArrayField | JSONField | BinaryField | DateField):
        yield None
    elif isinstance(field, CharField | TextField):
        yield ""
    elif isinstance(field, ArrayField):
        yield []
    elif isinstance(field, JSONField):
        yield field.get_default()
    elif isinstance(field, BinaryField):
        yield b""


def _leave_out(evaluation: Evaluation, clean: set[str]) -> None:
    """A report's figures stay; its list of single images loses the erased ones."""
    listed = evaluation.report.get("images", [])
    kept = [row for row in listed if row.get("sha256") not in clean]
    if len(kept) < len(listed):
        Evaluation.objects.filter(pk=evaluation.pk).update(report={**evaluation.report, "images": kept})


def _what_was_sent(files: Iterable[int]) -> None:
    ids = list(files)
    Arrival.objects.filter(file__in=ids).delete()
    UploadFile.objects.filter(pk__in=ids).update(
        name=ERASED, message="", table_error="", patient_code="", exam_code="", device="", stated_kind=""
    )


def forget_patient(erasure: Erasure) -> None:
    """The codes of the patient or the exam, once none of its images is left, and what tables and messages said under them."""
    if erasure.of == "image":
        return
    exams = Exam.objects.filter(**{"patient" if erasure.of == "patient" else "pk": erasure.subject_id})
    if erasure.of == "patient":
        # and the patients that were merged into this one: the same person under other codes
        people = Patient.objects.filter(Q(pk=erasure.subject_id) | Q(merged_into=erasure.subject_id))
        for code in people.values_list("code", flat=True):
            _forget_code(erasure.site_id, code)
        exams = Exam.objects.filter(patient__in=list(people.values_list("pk", flat=True)))
        people.update(code=_shell())
        # tables that were looked at and not yet applied may name the patient: they are to be sent again
        MetadataTable.objects.filter(site=erasure.site_id, applied=None).update(cells=b"")
    exams.update(code=_shell(), day=None)


def _shell() -> Concat:
    """A code that is nobody's and never the same twice."""
    return Concat(Value("erased-"), Cast(F("pk"), TextField()))


def _forget_code(site_id: int, code: str) -> None:
    rows = UploadFile.objects.filter(upload__site=site_id)
    _what_was_sent(rows.filter(patient_code=code).values_list("pk", flat=True))
    rows.filter(table_error__contains=code).update(table_error="")
