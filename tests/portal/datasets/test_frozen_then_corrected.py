"""A frozen data set stays as it was when its images are corrected or its patients merged; and its page says what is known since."""

from __future__ import annotations

import pytest

from portal.datasets import selectors
from portal.datasets.collection import COLUMNS, of_snapshot
from portal.datasets.models import Snapshot
from portal.datasets.query import Query
from portal.datasets.rows import digest, manifest
from portal.datasets.services import create_snapshot
from portal.datasets.splits import assign
from portal.images import regrouping, tables
from portal.images.dry_run import dry_run
from portal.images.models import Image, Patient
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


def in_split(split: str) -> str:
    return next(f"P{n}" for n in range(200) if assign(site="north", patient=f"P{n}") == split)


def frozen(cast: Cast) -> tuple[Snapshot, Image, Image]:
    """A patient of the train split with two images, and one of the test split."""
    one = make_image(cast.north, state="settled", patient=in_split("train"), exam="V1", name="a.jpg")
    two = make_image(cast.north, state="settled", patient=in_split("test"), exam="V1", name="b.jpg")
    return create_snapshot(name="May", query=Query(), actor=cast.max), one, two


def patient(image: Image) -> Patient:
    return Patient.objects.get(exams__images=image)


def exported(snapshot: Snapshot) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, entry.cells, strict=True)) for entry in of_snapshot(snapshot)]


def test_corrections_after_the_freeze_change_nothing_in_it(cast: Cast) -> None:
    snapshot, one, _ = frozen(cast)
    before = exported(snapshot)
    data = b"file,patient,exam,device,stated_kind,captured\na.jpg,P999,V7,New camera,green_filter,2024-05-01\n"
    held = tables.hold_table(site=cast.north, upload=None, data=data, name="t.csv", actor=cast.alice)
    tables.apply_held(held=held, seen=dry_run(held).digest, actor=cast.alice)
    one.refresh_from_db()
    assert (one.device, patient(one).code) == ("New camera", "P999")
    assert digest(manifest(selectors.items(snapshot))) == snapshot.hash
    assert exported(snapshot) == before
    assert selectors.known_since(snapshot) == []


def test_two_patients_of_different_splits_who_turn_out_to_be_one_are_named_on_the_page(cast: Cast) -> None:
    snapshot, one, two = frozen(cast)
    codes = tuple(sorted((patient(one).code, patient(two).code)))
    browser = cast.client(cast.max)
    assert "Known since" not in browser.get(f"/snapshots/{snapshot.pk}/").content.decode()
    done = regrouping.merge_patients(source=patient(one), into_code=patient(two).code, actor=cast.lena)
    (found,) = selectors.known_since(snapshot)
    assert (found.site, found.codes, found.splits) == ("North", codes, ("test", "train"))
    page = browser.get(f"/snapshots/{snapshot.pk}/").content.decode()
    assert "Known since this data set was frozen" in page
    assert f"North: {', '.join(codes)} (test, train)" in page
    regrouping.undo(regrouping=done.regrouping, actor=cast.lena)
    assert selectors.known_since(snapshot) == []


@pytest.mark.parametrize("into", ["the older", "the younger"])
def test_in_the_next_data_set_a_merged_patient_lies_in_the_split_of_who_was_here_first(cast: Cast, into: str) -> None:
    _, one, two = frozen(cast)
    first, second = patient(one), patient(two)
    source, target = (second, first) if into == "the older" else (first, second)
    regrouping.merge_patients(source=source, into_code=target.code, actor=cast.lena)
    rows = selectors.choose(Query()).rows
    assert {(row.patient, row.split) for row in rows} == {(target.code, "train")}
