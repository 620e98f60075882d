"""Data sets are closed under copies: patients whose images show one photograph, at whatever site, get the same split. So do two
that were merged: who remains keeps the split of whoever of them was here first.

Links are kept as they are found, and are no site's to see. They lead from every image there is, not from those of one query:
a patient's split is the same in every snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import connection

from portal.datasets.models import CrossSiteCopy
from portal.images import comparing
from portal.images.models import Patient


def link(image_ids: Sequence[int]) -> None:
    """Inside a transaction: keep which of these images show the same photograph as an image of another site."""
    found = comparing.pairs(image_ids, own_site=False)
    rows = [CrossSiteCopy(image_id=pair.image, other_id=pair.other, distance=pair.distance) for pair in found]
    CrossSiteCopy.objects.bulk_create(rows, ignore_conflicts=True)


def groups(links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Each linked patient's oldest: the lowest id of all that links lead to. Pure.

    The oldest decides, so that a patient who comes later moves nobody who was there before.
    """
    oldest: dict[int, int] = {}

    def root(patient: int) -> int:
        while oldest.setdefault(patient, patient) != patient:
            oldest[patient] = oldest[oldest[patient]]
            patient = oldest[patient]
        return patient

    for one, other in links:
        first, second = sorted((root(one), root(other)))
        oldest[second] = first
    return {patient: root(patient) for patient in list(oldest)}


_LINKS = """
SELECT DISTINCT later.patient_id, earlier.patient_id FROM (
    SELECT image_id, other_id FROM images_nearduplicate UNION ALL SELECT image_id, other_id FROM datasets_crosssitecopy
) pair
JOIN images_image i ON i.id = pair.image_id JOIN images_exam later ON later.id = i.exam_id
JOIN images_image o ON o.id = pair.other_id JOIN images_exam earlier ON earlier.id = o.exam_id
WHERE later.patient_id <> earlier.patient_id
UNION SELECT id, merged_into_id FROM images_patient WHERE merged_into_id IS NOT NULL
"""


def members() -> dict[int, list[tuple[int, str, str]]]:
    """By patient id, all members of its group, the oldest first: (patient id, site's slug, code). Patients without a link are left out.

    Two queries, whatever the number of images.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LINKS)
        group_of = groups(cursor.fetchall())
    known = Patient.objects.filter(pk__in=group_of).order_by("pk").values_list("pk", "site__slug", "code")
    lists: dict[int, list[tuple[int, str, str]]] = {}
    for patient in known if group_of else ():
        lists.setdefault(group_of[patient[0]], []).append(patient)
    return {patient: lists[oldest] for patient, oldest in group_of.items()}
