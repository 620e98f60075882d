"""Freezing which images, with which labels and splits."""

import pytest

from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, WrongState
from portal.datasets.models import SnapshotItem, SnapshotState
from portal.datasets.query import Query
from portal.datasets.selectors import holding
from portal.datasets.services import create_snapshot, preview
from portal.datasets.splits import assign
from portal.jobs.models import Job
from portal.labels.models import Provenance
from tests.cast import Cast, make_image, picture_bytes


def _some(cast: Cast) -> None:
    for n, kind in enumerate(["regular", "regular", "green_filter", "lugol_iodine"]):
        make_image(cast.north, state="settled", patient=f"P{n}", kind=kind)
    make_image(cast.river, state="settled", patient="P0", kind="regular")
    make_image(cast.river, state="accepted", patient="P1", kind="regular")
    make_image(cast.river, state="in_review", patient="P2")


def test_a_snapshot_holds_what_people_settled_and_asks_for_its_folder(cast: Cast) -> None:
    _some(cast)
    snapshot = create_snapshot(name="first", query=Query(), actor=cast.max)
    assert snapshot.state == SnapshotState.WRITING
    assert snapshot.items.count() == snapshot.counts["images"] == 5
    assert snapshot.counts["patients"] == 5
    assert Job.objects.filter(kind="freeze", subject_id=snapshot.pk, state="queued").exists()
    assert AuditEvent.objects.filter(action="snapshot.create", subject_id=snapshot.pk, actor_id=cast.max.pk).exists()
    for item in snapshot.items.select_related("image__exam__patient", "image__site"):
        exam = item.image.exam
        assert exam is not None
        assert item.split == assign(site=item.image.site.slug, patient=exam.patient.code)


def test_automatic_labels_come_only_when_asked_for(cast: Cast) -> None:
    _some(cast)
    assert preview(Query())["images"] == 5
    assert preview(Query(provenances="all"))["by_provenance"][Provenance.AUTOMATIC]["images"] == 1


def test_sites_and_kinds_narrow_the_choice(cast: Cast) -> None:
    _some(cast)
    assert preview(Query(sites=(cast.river.pk,)))["images"] == 1
    assert preview(Query(kinds=("green_filter", "lugol_iodine")))["images"] == 2
    held = preview(Query(hold_out=cast.river.pk))
    assert held["by_split"]["test"] == {"images": 1, "patients": 1}


def test_an_image_without_a_patient_is_left_out_and_counted(cast: Cast) -> None:
    make_image(cast.north, state="settled")
    make_image(cast.north, state="settled", patient=None)
    found = preview(Query())
    assert (found["images"], found["without_patient"]) == (1, 1)


def test_the_same_picture_at_two_sites_is_kept_once(cast: Cast) -> None:
    data = picture_bytes()
    make_image(cast.north, state="settled", data=data)
    make_image(cast.river, state="settled", data=data)
    found = preview(Query())
    assert (found["images"], found["repeated"]) == (1, 1)


def test_both_sites_read_that_the_picture_is_in_the_data_set(cast: Cast) -> None:
    """Else the one that sent it later would learn that another has it too. Where it lies in it is no site's to know."""
    data = picture_bytes()
    images = [make_image(site, state="settled", data=data) for site in (cast.north, cast.river)]
    snapshot = create_snapshot(name="both", query=Query(), actor=cast.max)
    assert [[(held.pk, held.n) for held in holding([image.pk])] for image in images] == [[(snapshot.pk, 1)]] * 2  # type: ignore[attr-defined]
    assert [held.n for held in holding([image.pk for image in images])] == [2]  # type: ignore[attr-defined]
    lead, admin = (cast.client(user).get(f"/images/{images[0].pk}/").content.decode() for user in (cast.lena, cast.max))
    assert "data set both</li>" in lead
    assert f"data set both ({snapshot.items.get().split})</li>" in admin


def test_the_preview_warns_of_missing_kinds_and_empty_splits(cast: Cast) -> None:
    make_image(cast.north, state="settled", patient="P1")
    said = " ".join(preview(Query())["warnings"])
    assert "no example of green filter" in said
    assert "test split is empty" in said
    assert "train split holds neither green filter nor Lugol" in said


def test_an_empty_choice_is_refused(cast: Cast) -> None:
    with pytest.raises(BadInput, match="No image fits"):
        create_snapshot(name="empty", query=Query(), actor=cast.max)


def test_a_name_is_given_once(cast: Cast) -> None:
    _some(cast)
    create_snapshot(name="first", query=Query(), actor=cast.max)
    with pytest.raises(BadInput, match="no other has"):
        create_snapshot(name="first", query=Query(provenances="all"), actor=cast.max)


def test_the_same_content_is_frozen_once(cast: Cast) -> None:
    _some(cast)
    create_snapshot(name="first", query=Query(), actor=cast.max)
    with pytest.raises(WrongState, match="“first” holds exactly these"):
        create_snapshot(name="second", query=Query(), actor=cast.max)
    assert SnapshotItem.objects.count() == 5


def test_the_number_of_queries_does_not_grow_with_the_images(cast: Cast, django_assert_num_queries: pytest.FixtureRequest) -> None:
    for n in range(6):
        make_image(cast.north, state="settled", patient=f"P{n}")
    with django_assert_num_queries(2):  # type: ignore[operator]
        preview(Query())
