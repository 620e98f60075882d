"""What became of every file of an upload, and what to take again while the patient may still be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from portal.analyses.models import Assessment
from portal.images import selectors as images
from portal.images.models import FileOutcome, ImageState, Upload, UploadFile
from portal.images.selectors import Near
from portal.ml import NON_REGULAR_KINDS

ADVICE = {
    "other_patient": "Check whose picture this is. If patients were mixed up, take it again.",
    "not_a_cervix": "Check that it is the right file; if it is, readers will say so.",
    "blurred": "Hold the camera still, let it focus on the cervix, and take it again.",
    "too_dark": "Bring the light closer or raise the exposure, and take it again.",
    "too_bright": "Lower the light or the exposure, and take it again.",
    "wrong_stain": "Take one more without green filter and before iodine.",
    "glare": "Tilt the camera or the light a little, dab off fluid, and take it again.",
    "text": "Switch off what the device writes into the picture, and take it again; or blank it on the page Quarantine.",
}
"""What to do at the camera about each finding, the worst first."""
WORST_FIRST = tuple(ADVICE)
NAMES = {
    "other_patient": "near-duplicate, other patient", "same_patient": "near-duplicate, same patient",
    "unknown_patient": "near-duplicate, patient not named", "not_a_cervix": "no cervix", "blurred": "out of focus", "too_dark": "too dark",
    "too_bright": "too bright", "wrong_stain": "wrong stain", "glare": "glare", "text": "text in the picture", "no_patient": "no patient",
}  # fmt: skip
"""Findings as the page's filter names them."""
_SEEN = {"not_a_cervix": "not_a_cervix", "detector_none": "not_a_cervix"} | {
    code: code for code in ("blurred", "too_dark", "too_bright", "glare")
}
"""Reasons of the model's word, and the finding that each is."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Of all images of one upload: findings by image id, near-duplicates by image id."""

    by_image: Mapping[int, Sequence[str]]
    near: Mapping[int, Sequence[Near]]

    def counts(self) -> dict[str, int]:
        """How many images have each finding, in the order of NAMES; those that none has are left out."""
        found = Counter(code for codes in self.by_image.values() for code in codes)
        return {code: found[code] for code in NAMES if found[code]}

    def having(self, code: str) -> list[int]:
        return [image for image, codes in self.by_image.items() if code in codes]


def findings(upload: Upload) -> Findings:
    """Three queries, whatever the number of files."""
    files = upload.files.filter(outcome=FileOutcome.ACCEPTED, image__isnull=False).exclude(image__state=ImageState.WITHDRAWN)
    known = {row[0]: row[1:] for row in files.values_list("image", "image__state", "image__stated_kind", "image__exam", "patient_code")}
    near = images.near(list(known), earlier_only=True)
    said = {row["image"]: row for row in _said(files)}
    by_image = {image: _codes(*facts, near.get(image, ()), said.get(image, {})) for image, facts in known.items()}
    return Findings({image: codes for image, codes in by_image.items() if codes}, near)


def _said(files: QuerySet[UploadFile]) -> Iterable[Mapping[str, Any]]:
    return Assessment.objects.filter(image__in=files.values("image"), current=True).values("image", "kind", "reasons", "route")


def _codes(state: str, stated: str, exam: int | None, patient_code: str, near: Sequence[Near], said: Mapping[str, Any]) -> list[str]:
    """The findings of one image, the worst first."""
    found = {*(one.relation for one in near), *(_SEEN[reason] for reason in said.get("reasons", ()) if reason in _SEEN)}
    if said and wrong_stain(stated, said["kind"], said["route"]):
        found.add("wrong_stain")
    if state == ImageState.QUARANTINED:
        found.add("text")
    if exam is None and not patient_code:
        found.add("no_patient")
    return [code for code in dict.fromkeys((*WORST_FIRST, *NAMES)) if code in found]


def wrong_stain(stated: str, kind: str, route: str) -> bool:
    """Whether the model is sure of green filter or iodine, and the site did not say so itself. Pure."""
    return kind in NON_REGULAR_KINDS and route == "auto_non_regular" and stated != kind


@dataclass(slots=True)
class ToRetake:
    """One patient's pictures to take again: (file, its findings that something can be done about, the worst first)."""

    patient: str
    items: list[tuple[UploadFile, list[str]]] = field(default_factory=list)

    @property
    def worst(self) -> int:
        return min(WORST_FIRST.index(codes[0]) for _, codes in self.items)

    @property
    def newest(self) -> int:
        return max(file.pk for file, _ in self.items)


def to_retake(upload: Upload, found: Findings) -> list[ToRetake]:
    """By patient, the worst first and among equals the newest; what a person has dismissed left out. One query."""
    wanted = {image: [code for code in codes if code in ADVICE] for image, codes in found.by_image.items()}
    ids = [image for image, codes in wanted.items() if codes]
    files = upload.files.filter(image__in=ids, outcome=FileOutcome.ACCEPTED, advice_dismissed=None)
    groups: dict[str, ToRetake] = {}
    for file in files.select_related("image__exam__patient").order_by("-pk"):
        assert file.image
        patient = file.image.exam.patient.code if file.image.exam else file.patient_code
        groups.setdefault(patient, ToRetake(patient)).items.append((file, wanted[file.image.pk]))
    for group in groups.values():
        group.items.sort(key=lambda item: WORST_FIRST.index(item[1][0]))
    return sorted(groups.values(), key=lambda group: (group.worst, -group.newest))
