"""An image's page tells by which rule and from which answers its label came, in words and without names."""

from __future__ import annotations

import re

import pytest

from portal.accounts.models import Role
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.models import ReviewRules, ReviewTask
from portal.reviews.quality.measuring import measure
from tests.cast import Cast, make_image, make_task, make_user
from tests.portal.reviews.test_adaptive import adaptive, history
from tests.portal.reviews.test_submit_read import read

pytestmark = pytest.mark.django_db


def page_of(cast: Cast, image: Image) -> str:
    return re.sub(r"\s+", " ", cast.client(cast.lena).get(f"/images/{image.pk}/").content.decode())


def test_two_readers_by_a_rule(cast: Cast) -> None:
    rules = ReviewRules.objects.create(reads_needed=2, unsure_asks=True)
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(rules=rules, reads_needed=2)
    read(cast.rita, "regular")
    read(cast.ravi, "regular")
    page = page_of(cast, task.image)
    rule = f"by rule {rules.pk} of {rules.created:%-d %b %Y}: two independent reads, one more where somebody is unsure"
    assert f"Task {task.pk}, {rule}: 2 × regular." in page
    assert "Rita" not in page


def test_an_adjudicator_after_three(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    read(cast.rita, "regular")
    read(cast.ravi, "green_filter")
    read(make_user("tess", (Role.READER, None)), "lugol_iodine")
    read(cast.ada, "green_filter", role="adjudicator", note="a green cast")
    page = page_of(cast, task.image)
    assert "by the built-in rule of one read: 1 × regular, 1 × green filter, 1 × lugol iodine, then an adjudicator: green filter." in page


def test_that_it_was_clear_and_no_figure_that_others_answers_made(cast: Cast) -> None:
    history(cast, (cast.rita, cast.ravi, make_user("tess", (Role.READER, None))), 60)
    measure()
    task = adaptive(cast)
    read(cast.rita, "regular")
    likely = Label.objects.get(image=task.image, current=True).basis["posterior"]
    page = page_of(cast, task.image)
    assert "1 × regular; clear enough by how well these readers read." in page
    assert f"{100 * likely:.1f} %" not in page


def test_what_no_reader_settled_tells_nothing(cast: Cast) -> None:
    assert "by the built-in rule" not in page_of(cast, make_image(cast.north, state="accepted"))
