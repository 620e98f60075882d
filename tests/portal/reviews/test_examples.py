"""The drawn example set is settled by its truth, once, without disturbing what people said."""

from __future__ import annotations

import pytest

from portal.labels.models import Label, Provenance
from portal.reviews.examples import Settled, settle_example_truth
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.services import lease_next
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db

BOX = (1.0, 2.0, 30.0, 40.0)


def test_the_truth_settles_what_is_through_triage(cast: Cast) -> None:
    make_image(cast.north, state="accepted", kind="regular", name="a.jpg")
    make_image(cast.north, state="in_review", name="b.jpg")
    make_image(cast.north, state="clean", name="c.jpg")
    make_image(cast.north, state="settled", kind="regular", name="d.jpg")
    other = make_image(cast.river, state="in_review", name="a.jpg")
    assert lease_next(reader=cast.rita) is not None
    names = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    truth = [("north", name, "green_filter", BOX) for name in names]
    assert settle_example_truth(truth=truth, actor=cast.sys) == Settled(settled=2, waiting=1, done=1, missing=1)
    labels = Label.objects.filter(provenance=Provenance.EXAMPLE_TRUTH, current=True)
    assert [(label.kind, label.box) for label in labels] == [("green_filter", list(BOX))] * 2
    assert ReviewTask.objects.filter(image__site=cast.north, state="open").count() == 0
    assert ReviewTask.objects.get(image=other).state == "open"
    assert not Lease.objects.filter(ended__isnull=True).exists()
    assert settle_example_truth(truth=truth, actor=cast.sys) == Settled(settled=0, waiting=1, done=3, missing=1)
