"""Which open questions nobody who reads here may be given: told by kinds of question, as question by question."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Membership, Role, User
from portal.reviews import selectors, standstill
from portal.reviews.models import Lease, ReviewRules, ReviewTask
from portal.reviews.progress import reading_now
from portal.reviews.standstill import Standstill
from tests.cast import Cast, make_image, make_read, make_task, make_user

pytestmark = pytest.mark.django_db


def found(readers: list[User]) -> Standstill:
    return standstill.standstill(ReviewTask.objects.all(), readers)


def counted(readers: list[User]) -> dict[str, tuple[int, int]]:
    return {one.site: (one.images, one.patients) for one in found(readers).sites}


def test_what_no_reader_may_be_given_is_told(cast: Cast) -> None:
    """North's images may not be read first by people of north, and by nobody twice."""
    fresh, half = make_task(cast.north), make_task(make_image(cast.north, state="in_review", patient="P2"))
    ReviewTask.objects.update(reads_needed=2)
    make_read(half, cast.ravi)
    assert found(list(reading_now())) == Standstill([])
    assert counted([cast.ravi]) == {"North": (1, 1)}
    Membership.objects.filter(user=cast.rita).delete()
    Membership.objects.create(user=cast.rita, role=Role.READER, site=cast.north)
    (one,) = found([cast.rita]).sites
    assert (one.images, one.oldest) == (1, fresh.created)
    assert counted([]) == {"North": (2, 2)}
    Lease.objects.create(task=half, reader=cast.ada, token="x", until=Now() + timedelta(minutes=5))
    assert counted([]) == {"North": (1, 1)}


@pytest.mark.parametrize("own_site_first", [False, True])
def test_it_says_what_the_queue_says_of_every_question(cast: Cast, settings: Any, own_site_first: bool) -> None:
    """Questions of two sites with rules, answers, skips, shown opinions and leases at random, and every few of the readers."""
    settings.READ_OWN_SITE_FIRST = own_site_first
    dice = random.Random(12)
    people = [cast.rita, cast.ravi, make_user("tess", (Role.READER, cast.north)), make_user("nils", (Role.READER, cast.north))]
    ReviewRules.objects.create(site=cast.river, only_readers=[cast.rita.pk])  # in force no more
    ReviewRules.objects.create(site=cast.river, only_sites=[cast.north.pk], only_readers=[cast.ravi.pk])
    for number in range(16):
        task = make_task(make_image(dice.choice([cast.north, cast.river]), state="in_review", patient=f"P{number % 9}"))
        ReviewTask.objects.filter(pk=task.pk).update(reads_needed=dice.choice([1, 2, 3]))
        for reader in dice.sample(people, dice.choice([0, 0, 1, 2])):
            make_read(task, reader)
        met_by(dice, task, people)
    outcomes = set()
    for size in range(5):
        readers = dice.sample(people, size)
        expected = Counter(
            task.image.site.name for task in ReviewTask.objects.filter(state="open").select_related("image__site")
            if not selectors.live().filter(task=task).exists()
            and not any(selectors.readable_by(reader).filter(pk=task.pk).exists() for reader in readers)
        )  # fmt: skip
        assert {site: images for site, (images, _) in counted(readers).items()} == expected
        outcomes.add(tuple(sorted(expected.items())))
    assert len(outcomes) > 1


def met_by(dice: random.Random, task: ReviewTask, people: list[User]) -> None:
    """Somebody has skipped it lately or long ago, was shown what the model says of its image, or holds it."""
    reader, what = dice.choice(people), dice.choice(["skipped", "skipped long ago", "shown", "held", "", ""])
    lease = Lease(task=task, reader=reader, token=f"t{task.pk}", until=Now() - timedelta(hours=1), ended=Now() - timedelta(hours=1))
    if what.startswith("skipped"):
        lease.skipped = "not_now"
        lease.ended = Now() - timedelta(hours=13 if what.endswith("ago") else 1)
    elif what == "shown":
        lease.task = ReviewTask.objects.create(image=task.image, state="closed")
        lease.revealed = Now()
    elif what == "held":
        lease.until, lease.ended = Now() + timedelta(minutes=5), None
    if what:
        lease.save()


def test_it_takes_as_many_queries_for_many_and_says_where_it_left_kinds_out(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            found(readers)
        return len(captured)

    readers = list(reading_now())
    make_task(cast.north)
    few = queries()
    for number in range(6):
        reader = make_user(f"reader{number}", (Role.READER, None))
        readers.append(reader)
        make_read(make_task(cast.river), reader)
    assert queries() == few == 3
    assert found(readers).whole
    monkeypatch.setattr(standstill, "MOST_KINDS", 2)
    assert not found(readers).whole
    assert [one.site for one in found([]).sites] == ["North", "River"]
    page = cast.client(cast.stella).get("/reviews/progress/").content.decode()
    assert "only those with the oldest were looked at" in page
