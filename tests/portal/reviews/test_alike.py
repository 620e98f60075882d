"""What resembles many open questions of its site waits a little, so that near-equals in doubt come by turns of looks (METHODS 6)."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Site
from portal.analyses.models import Analysis
from portal.images.models import Image
from portal.reviews import crowds, order
from portal.reviews.models import ReviewTask
from portal.reviews.order import ALIKE_STEP, MOST_ALIKE
from portal.reviews.services import triage
from tests.cast import Cast, make_analysis, make_image, make_version

pytestmark = pytest.mark.django_db


def looking(site: Site, look: int | None, p: float) -> tuple[Image, Analysis]:
    image = make_image(site, state="clean", patient=None)
    analysis = make_analysis(image, p_non_regular=p, look=look)
    Image.objects.filter(pk=image.pk).update(state="analysed")
    image.refresh_from_db()
    return image, analysis


def queue() -> list[int | None]:
    """The looks of what is open, in the order of the queue."""
    return list(ReviewTask.objects.filter(state="open").order_by("turn", "id").values_list("look", flat=True))


def test_each_that_asks_the_same_puts_a_question_back_but_not_for_ever() -> None:
    assert order.soon(0.9, 0) == 0.9
    assert order.soon(0.9, 3) == pytest.approx(0.9 - 3 * ALIKE_STEP)
    assert order.soon(0.9, 10_000) == pytest.approx(0.9 - MOST_ALIKE * ALIKE_STEP)
    assert order.soon(0.05, MOST_ALIKE) == 0


def test_among_many_twins_the_others_come_early(cast: Cast) -> None:
    triage([looking(cast.north, 7, 0.5) for _ in range(20)] + [looking(cast.north, 20 + n, 0.49) for n in range(4)])
    assert queue()[:8].count(7) == 4
    assert {look for look in queue()[:8] if look != 7} == {20, 21, 22, 23}


def test_what_is_much_more_in_doubt_is_still_first(cast: Cast) -> None:
    triage([looking(cast.north, 7, 0.5) for _ in range(5)] + [looking(cast.north, 8, 0.8)])
    assert queue() == [7, 7, 7, 7, 7, 8]


def test_other_sites_other_looks_and_what_is_closed_do_not_count(cast: Cast) -> None:
    triage([looking(cast.north, 7, 0.5), looking(cast.north, 8, 0.5), looking(cast.river, 7, 0.5)])
    assert crowds.alike([(cast.north.pk, 7, 1.0), (cast.north.pk, 7, 0.5), (cast.north.pk, None, 0.5), (cast.river.pk, 9, 1.0)]) == [
        1,
        2,
        0,
        0,
    ]
    ReviewTask.objects.filter(site=cast.north).update(state="closed")
    assert crowds.alike([(cast.north.pk, 7, 1.0)]) == [0]


def test_a_new_models_doubt_keeps_what_its_twins_cost(cast: Cast) -> None:
    triage([looking(cast.north, 7, 0.5) for _ in range(2)])
    last = ReviewTask.objects.get(alike=1)
    image = Image.objects.get(pk=last.image_id)
    triage([(image, make_analysis(image, version=make_version(), p_non_regular=0.4, look=3))])
    last.refresh_from_db()
    assert last.alike == 1
    # Looks are numbered by each model for itself
    assert last.look == 3
    assert last.priority == pytest.approx(0.8 - ALIKE_STEP)


def test_counting_takes_one_statement_however_many_are_asked(cast: Cast) -> None:
    places = [(cast.north.pk, look, 0.5) for look in range(40)]
    with CaptureQueriesContext(connection) as found:
        crowds.alike(places)
    assert len(found) == 1
    with CaptureQueriesContext(connection) as none:
        crowds.alike([(cast.north.pk, None, 0.5)])
    assert len(none) == 0
