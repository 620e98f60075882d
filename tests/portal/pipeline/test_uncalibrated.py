"""What comes from a device on which a model was never calibrated goes to readers, however sure the model is (METHODS 6)."""

from __future__ import annotations

from typing import Any

import pytest

from portal.images.models import Image
from portal.learning import evaluations
from portal.learning.models import Evaluation
from portal.reviews.services import reassess
from tests.cast import Cast, make_snapshot, make_version
from tests.portal.pipeline.beside import PLAIN, STAINED, arrive, drain
from tests.portal.pipeline.conftest import Toy

pytestmark = pytest.mark.django_db(transaction=True)
REASON = "no_calibration_for_device"


@pytest.fixture(autouse=True)
def _as_shipped(settings: Any) -> None:
    settings.REVIEW_UNCALIBRATED = True
    make_version("champion", fusion={"t_lo": 0.1, "t_hi": 0.9}, calibrated_devices=["colposcope"])


def taken_by(device: str, images: list[Image]) -> list[Image]:
    Image.objects.filter(pk__in=[image.pk for image in images]).update(device=device)
    return images


def test_of_a_device_that_it_was_not_calibrated_on_every_image_is_asked_about(cast: Cast, toy: Toy) -> None:
    known = taken_by("colposcope", arrive(cast.north, toy, PLAIN, STAINED, exam="E1"))
    others = [
        *taken_by("phone", arrive(cast.north, toy, PLAIN, STAINED, exam="E2")),
        *taken_by("", arrive(cast.north, toy, PLAIN, exam="E3")),
    ]
    drain("analyse")
    drain("assess")
    for image in (*known, *others):
        image.refresh_from_db()
    assert [image.state for image in known] == ["accepted", "accepted"]
    assert [image.state for image in others] == ["in_review"] * 3
    assert [image.assessments.get(current=True).reasons for image in known] == [[], []]
    assert [image.assessments.get(current=True).reasons for image in others] == [[REASON]] * 3
    page = cast.client(cast.alice).get(f"/images/{others[0].pk}/").content.decode()
    assert "nobody has checked yet how well the model judges this device" in page


@pytest.mark.parametrize("first", ["phone", "colposcope"])
def test_a_device_that_is_put_right_changes_what_is_asked(cast: Cast, toy: Toy, first: str) -> None:
    """The only image of its exam, of which nothing else is new."""
    (image,) = taken_by(first, arrive(cast.north, toy, PLAIN))
    drain("analyse")
    image.refresh_from_db()
    assert image.state == ("in_review" if first == "phone" else "accepted")
    taken_by({"phone": "colposcope", "colposcope": "phone"}[first], [image])
    reassess([image.pk])
    image.refresh_from_db()
    now = image.assessments.get(current=True)
    assert (REASON in now.reasons, image.state) == ((False, "accepted") if first == "phone" else (True, "in_review"))


def test_a_report_counts_as_read_what_the_portal_has_read(cast: Cast, settings: Any) -> None:
    """And one of another rule is made anew, as what is accepted unseen hangs on it."""
    version, snapshot = make_version(), make_snapshot()
    (asked,) = evaluations.ask(versions=[version], snapshot=snapshot, actor=cast.max)
    Evaluation.objects.filter(pk=asked.pk).update(state="done", report={"known_devices_only": True})
    assert evaluations.ask(versions=[version], snapshot=snapshot, actor=cast.max)[0].state == "done"
    settings.REVIEW_UNCALIBRATED = False
    evaluations.ask(versions=[version], snapshot=snapshot, actor=cast.max)
    asked.refresh_from_db()
    assert asked.state == "queued"


def test_an_installation_may_trust_the_model_on_any_device(cast: Cast, toy: Toy, settings: Any) -> None:
    settings.REVIEW_UNCALIBRATED = False
    (image,) = taken_by("phone", arrive(cast.north, toy, PLAIN))
    drain("analyse")
    image.refresh_from_db()
    assert (image.state, image.assessments.get(current=True).reasons) == ("accepted", [])
