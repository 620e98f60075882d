"""What a person sees of images: their own sites', by keyset pages, in one query."""

from __future__ import annotations

from typing import Any

import pytest

from portal.images import selectors
from portal.images.models import Image
from portal.images.selectors import Filters
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


def test_the_gallery_goes_through_all_own_images_page_by_page(cast: Cast, django_assert_num_queries: Any) -> None:
    own = [make_image(cast.north, patient=f"P{n}").pk for n in range(5)]
    make_image(cast.river)
    seen: list[int] = []
    page = selectors.gallery(cast.alice, Filters(), size=2)
    while True:
        seen += [image.pk for image in page.images]
        if page.next_before is None:
            break
        page = selectors.gallery(cast.alice, Filters(before=page.next_before), size=2)
    assert seen == own[::-1]
    with django_assert_num_queries(1):
        assert [image.exam.patient.code for image in selectors.gallery(cast.alice, Filters(), size=3).images if image.exam] == [
            "P4",
            "P3",
            "P2",
        ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (Filters(state="clean"), 1),
        (Filters(patient="P1"), 1),
        (Filters(without_patient=True), 1),
        (Filters(name="SPECIAL"), 1),
        (Filters(device="Test camera"), 3),
        (Filters(stated_kind="green_filter"), 1),
    ],
)
def test_filters(cast: Cast, filters: Filters, count: int) -> None:
    make_image(cast.north, patient="P1", state="clean")
    make_image(cast.north, patient=None, name="special.jpg")
    make_image(cast.north, patient="P2", stated_kind="green_filter")
    make_image(cast.river, patient="P1", state="clean", stated_kind="green_filter", name="special.jpg")
    assert len(selectors.gallery(cast.alice, filters).images) == count


def test_what_rooms_above_know_narrows_the_page(cast: Cast) -> None:
    image, _ = make_image(cast.north), make_image(cast.north)
    assert list(selectors.gallery(cast.alice, Filters(), within=Image.objects.filter(pk=image.pk)).images) == [image]


def test_readers_and_strangers_see_nothing(cast: Cast) -> None:
    make_image(cast.north)
    assert not selectors.gallery(cast.rita, Filters()).images
    assert not selectors.gallery(cast.bob, Filters()).images
    assert not selectors.uploads(cast.bob)


def test_numbers_say_over_how_many_images_and_patients(cast: Cast) -> None:
    for patient in ("P1", "P1", "P2", None):
        make_image(cast.north, patient=patient)
    assert selectors.counted(selectors.filtered(cast.alice, Filters())) == {"images": 4, "patients": 2, "without_patient": 1}


def test_an_image_that_waits_without_work_is_found(cast: Cast) -> None:
    image = make_image(cast.north)
    assert list(selectors.stuck()) == [image]
