"""Known pictures and repeats among the reviews: at places that nobody can guess, never twice, and without a trace in what they show."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Role, Site, User
from portal.audit.models import AuditEvent
from portal.images.models import Image
from portal.labels.models import Label
from portal.pipeline.invariants import violations
from portal.reviews import leases, standing
from portal.reviews.models import KnownImage, Lease, Purpose, Read, ReviewTask
from portal.reviews.quality import known_images
from portal.reviews.room.versions import undo
from portal.reviews.services import Answer, lease_next, release, reopen, set_rules, submit_read, withdraw
from portal.reviews.skips import skip
from portal.reviews.standing import Standing
from tests.cast import Cast, make_image, make_task, make_user

pytestmark = pytest.mark.django_db
ALWAYS: dict[str, Any] = {"gold_share": 0.2}


@pytest.fixture
def readers(cast: Cast) -> tuple[User, User]:
    """Two who settle the pictures that others are measured by."""
    return make_user("tess", (Role.READER, None)), make_user("tom", (Role.READER, None))


def settle(site: Site, readers: tuple[User, ...], *kinds: str) -> Image:
    """A picture that these readers answered one after the other."""
    task = make_task(site)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    task.refresh_from_db()
    for reader, kind in zip(readers, kinds, strict=False):
        leases.hold(task=task, reader=reader)
        submit_read(task=task, reader=reader, answer=Answer(kind, reasons=("blurred",) if kind == "unusable" else ()))
    return Image.objects.get(pk=task.image_id)


def known(site: Site, kind: str = "regular") -> KnownImage:
    return KnownImage.objects.create(image=make_image(site, state="settled", kind=kind), kind=kind)


def drawn(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """The dice show this from now on."""
    monkeypatch.setattr(known_images, "draw", lambda *_: value)


def test_where_all_first_answers_agree_the_picture_becomes_known(cast: Cast, readers: tuple[User, User]) -> None:
    third = make_user("tina", (Role.READER, None))
    agreed = settle(cast.north, readers, "lugol_iodine", "lugol_iodine")
    settle(cast.north, (*readers, third), "regular", "lugol_iodine", "regular")
    alone = make_task(cast.north)
    leases.hold(task=alone, reader=readers[0])
    submit_read(task=alone, reader=readers[0], answer=Answer("regular"))
    make_image(cast.north, state="settled")
    assert (known_images.gather(), known_images.gather()) == (1, 0)
    assert [(row.image, row.kind, row.qualifying) for row in KnownImage.objects.all()] == [(agreed, "lugol_iodine", False)]


def test_an_answer_amended_or_given_after_the_models_makes_no_picture_known(cast: Cast, readers: tuple[User, User]) -> None:
    amended, shown, undone = (settle(cast.north, readers, "regular", "regular") for _ in range(3))
    task = {image.pk: image.review_tasks.get() for image in (amended, shown, undone)}
    Read.objects.bulk_create([
        Read(task=task[amended.pk], reader=readers[0], kind="lugol_iodine", version=2, current=False),
        Read(task=task[undone.pk], reader=readers[0], kind="lugol_iodine", version=2, current=False, undone=True),
    ])  # fmt: skip
    second = Read.objects.get(task=task[shown.pk], reader=readers[1])
    Read.objects.filter(pk=second.pk).update(undone=True)
    Read.objects.create(task=task[shown.pk], reader=readers[1], kind="regular", version=3, current=False, revealed=True)
    known_images.gather()
    assert [row.image for row in KnownImage.objects.all()] == [undone]


def test_a_kind_is_not_gathered_without_end(cast: Cast, readers: tuple[User, User], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_images, "POOL_OF_A_KIND", 2)
    for _ in range(3):
        settle(cast.north, readers, "regular", "regular")
    assert (known_images.gather(), known_images.gather()) == (2, 0)
    assert known_images.pool() == {**dict.fromkeys(known_images.pool(), 0), "regular": 2}
    KnownImage.objects.update(retired=datetime.now(UTC))
    assert known_images.gather() == 1


def test_known_pictures_and_repeats_come_as_often_as_the_study_asks() -> None:
    shares = Standing(7, gold_share=0.05, repeat_share=0.1)
    found = Counter(known_images.purpose(shares.after(last)) for last in range(10_000))
    assert abs(found[Purpose.GOLD] - 500) < 100
    assert abs(found[Purpose.REPEAT] - 1_000) < 150
    assert found[Purpose.QUALIFICATION] == 0


def test_the_places_are_the_same_again_and_nobody_elses() -> None:
    def places(reader: int) -> list[Purpose]:
        return [known_images.purpose(Standing(reader, gold_share=0.2).after(last)) for last in range(200)]

    assert places(7) == places(7)
    assert places(7) != places(8)


def test_a_known_picture_changes_nothing_but_what_is_known_of_its_reader(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    row = known(cast.north, "regular")
    review = make_task(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    assert (lease.task.image, lease.task.purpose, lease.task.for_reader) == (row.image, Purpose.GOLD, cast.ravi)
    assert lease_next(reader=cast.ravi) == lease
    before = list(Label.objects.values())
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("green_filter"))
    assert list(Label.objects.values()) == before
    assert Image.objects.get(pk=row.image_id).state == "settled"
    assert ReviewTask.objects.get(pk=lease.task_id).state == "closed"
    assert Read.objects.get(task=lease.task_id).kind == "green_filter"
    assert list(ReviewTask.objects.filter(purpose="review", state="open")) == [review]
    found = {name: rows for name, rows in violations().items() if name.startswith(("doubled", "stuck", "unaudited.task"))}
    assert (lease.task_id,) not in found.pop("unaudited.task")
    assert not found


def test_everybody_elses_view_is_as_it_was(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    row = known(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("green_filter", note="a remark"))
    for person, address in ((cast.alice, f"/images/{row.image_id}/"), (cast.max, "/reviews/"), (cast.lena, f"/sites/{cast.north.pk}/")):
        page = cast.client(person).get(address).content.decode()
        assert "a remark" not in page
        assert "gold" not in page.lower()
    assert cast.client(cast.max).get("/reviews/").context["figures"]["closed"] == 1
    assert not AuditEvent.objects.filter(subject_type="reviews.ReviewTask", subject_id=lease.task_id, site_id__isnull=False).exclude(
        action__in=("lease", "read")
    )


def test_never_of_the_own_site_never_read_before_never_twice(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.river)
    read_before = settle(cast.north, (cast.ravi, cast.rita), "regular", "regular")
    KnownImage.objects.create(image=read_before, kind="regular")
    fresh = known(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    given = []
    while lease := lease_next(reader=cast.rita):
        given.append(lease.task.image)
        submit_read(task=lease.task, reader=cast.rita, answer=Answer("regular"))
    assert given == [fresh.image]


def test_what_is_settled_otherwise_or_withdrawn_is_known_no_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    other, gone, asked = known(cast.north), known(cast.north), known(cast.north)
    Label.objects.filter(image=other.image).update(current=False)
    Label.objects.create(image=other.image, kind="lugol_iodine", provenance="adjudication")
    withdraw(image=gone.image, actor=cast.lena, reason="consent")
    reopen(image=asked.image, actor=cast.max)
    ReviewTask.objects.filter(image=asked.image).update(state="cancelled")
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    assert lease_next(reader=cast.ravi) is None


def test_a_picture_is_retired_after_so_many_showings(cast: Cast, readers: tuple[User, User], monkeypatch: pytest.MonkeyPatch) -> None:
    row = known(cast.north)
    set_rules(site=None, gold_showings=2, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    assert [lease_next(reader=reader) is not None for reader in (cast.ravi, *readers)] == [True, True, False]
    row.refresh_from_db()
    assert (row.showings, row.retired is None) == (2, False)


def test_what_was_read_two_weeks_ago_comes_again_once(cast: Cast, readers: tuple[User, User], monkeypatch: pytest.MonkeyPatch) -> None:
    image = settle(cast.north, readers, "regular", "regular")
    set_rules(site=None, repeat_share=0.2, actor=cast.stella)
    drawn(monkeypatch, 0.0)
    assert lease_next(reader=readers[0]) is None
    old = ReviewTask.objects.create(image=make_image(cast.north, state="settled"), state="closed")
    made = datetime.now(UTC) - timedelta(days=known_images.REPEAT_AFTER_DAYS, hours=1)
    Read.objects.bulk_create([Read(task=old, reader=readers[0], kind="regular", created=made)])
    lease = lease_next(reader=readers[0])
    assert lease is not None
    assert (lease.task.image, lease.task.purpose) == (old.image, Purpose.REPEAT)
    assert lease.task.image != image
    submit_read(task=lease.task, reader=readers[0], answer=Answer("lugol_iodine"))
    assert lease_next(reader=readers[0]) is None
    assert lease_next(reader=readers[1]) is None


def test_one_that_was_let_go_comes_again_when_the_next_is_due_and_no_second_beside_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once: a review that was given back does not come at once either, while others wait."""
    known(cast.north), known(cast.north)
    review = make_task(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    first = lease_next(reader=cast.ravi)
    assert first is not None
    release(lease=first, reader=cast.ravi)
    drawn(monkeypatch, 0.9)
    between = lease_next(reader=cast.ravi)
    assert between is not None
    assert between.task == review
    submit_read(task=review, reader=cast.ravi, answer=Answer("regular"))
    drawn(monkeypatch, 0.1)
    again = lease_next(reader=cast.ravi)
    assert again is not None
    assert (again.task, again.pk == first.pk) == (first.task, False)
    assert ReviewTask.objects.filter(purpose="gold").count() == 1


def test_one_that_was_let_go_comes_again_where_nothing_else_waits(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    first = lease_next(reader=cast.ravi)
    assert first is not None
    Lease.objects.filter(pk=first.pk).update(until=first.created)
    drawn(monkeypatch, 0.9)
    again = lease_next(reader=cast.ravi)
    assert again is not None
    assert again.task == first.task


def test_one_fetched_ahead_is_as_good_and_comes_in_its_turn(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.north), known(cast.north)
    review = make_task(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.9)
    held = lease_next(reader=cast.ravi)
    drawn(monkeypatch, 0.1)
    ahead = leases.reserve(reader=cast.ravi)
    assert [lease.task.purpose for lease in ahead] == ["gold", "gold"]
    assert len({lease.task_id for lease in ahead}) == 2
    submit_read(task=review, reader=cast.ravi, answer=Answer("regular"))
    assert held is not None
    assert [lease_next(reader=cast.ravi).task_id] == [ahead[0].task_id]  # type: ignore[union-attr]


def test_it_is_undone_like_any_other(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("regular"))
    undo(task=lease.task, reader=cast.ravi)
    again = lease_next(reader=cast.ravi)
    assert again is not None
    submit_read(task=again.task, reader=cast.ravi, answer=Answer("lugol_iodine"))
    assert [(read.kind, read.current) for read in Read.objects.order_by("id")] == [("regular", False), ("lugol_iodine", True)]


def test_it_takes_as_many_statements_as_a_review(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a page takes must not tell what its picture is for. One fewer than the six that any picture may take."""
    known(cast.north), make_task(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    counted = []
    for value, reader in ((0.1, cast.ravi), (0.9, cast.rita)):
        drawn(monkeypatch, value)
        with CaptureQueriesContext(connection) as captured:
            lease = lease_next(reader=reader)
        assert lease is not None
        counted.append((lease.task.purpose, sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE")) for query in captured)))
    assert counted == [("gold", 5), ("review", 5)]


def test_adjudicators_are_not_measured(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    assert lease_next(reader=cast.ada, role="adjudicator") is None
    assert standing.of(cast.ada).last == 0


def test_one_that_was_skipped_does_not_come_back_sooner_than_a_review(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    known(cast.north)
    review = make_task(cast.north)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    skip(lease=lease, reader=cast.ravi, reason="not_now")
    after = lease_next(reader=cast.ravi)
    assert after is not None
    assert (lease.task.purpose, after.task) == ("gold", review)


def read_long_ago(site: Site, reader: User) -> ReviewTask:
    """A question that was settled, and may come again by now."""
    task = ReviewTask.objects.create(image=make_image(site, state="settled"), state="closed")
    made = datetime.now(UTC) - timedelta(days=known_images.REPEAT_AFTER_DAYS, hours=1)
    Read.objects.bulk_create([Read(task=task, reader=reader, kind="regular", created=made)])
    return task


def test_who_has_settled_an_image_since_is_not_measured_by_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have seen what others said of it: when it was asked again, after they had read it."""
    first, second = read_long_ago(cast.north, cast.ada), read_long_ago(cast.north, cast.ada)
    set_rules(site=None, repeat_share=0.2, actor=cast.stella)
    drawn(monkeypatch, 0.0)
    let_go = lease_next(reader=cast.ada)
    assert let_go is not None
    assert let_go.task.purpose == Purpose.REPEAT
    release(lease=let_go, reader=cast.ada)
    for task in (first, second):
        again = ReviewTask.objects.create(image=task.image, state="closed")
        Lease.objects.create(
            task=again, reader=cast.ada, token=f"settled-{task.pk}", until=again.created, ended=again.created, adjudicating=True
        )
    assert lease_next(reader=cast.ada) is None


def test_a_site_that_names_others_shows_nobody_else_its_known_pictures(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever purpose, and also where one was open before."""
    known(cast.north), known(cast.north), read_long_ago(cast.north, cast.ravi)
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    drawn(monkeypatch, 0.1)
    let_go = lease_next(reader=cast.ravi)
    assert let_go is not None
    release(lease=let_go, reader=cast.ravi)
    set_rules(site=cast.north, only_sites=[cast.river.pk], actor=cast.stella)
    assert lease_next(reader=cast.ravi) is None
    set_rules(site=None, repeat_share=0.2, actor=cast.stella)
    assert lease_next(reader=cast.ravi) is None
    given = lease_next(reader=cast.rita)
    assert given is None, "rita has read nothing yet"
    set_rules(site=None, actor=cast.stella, **ALWAYS)
    assert lease_next(reader=cast.rita) is not None


def test_a_qualification_is_complete_without_the_sites_that_shut_a_reader_out(cast: Cast) -> None:
    rows = [known(cast.north), known(cast.river)]
    KnownImage.objects.update(qualifying=True)
    set_rules(site=None, qualify_agreement=0.5, actor=cast.stella)
    let_go = lease_next(reader=cast.ravi)
    assert let_go is not None
    release(lease=let_go, reader=cast.ravi)
    shut = let_go.task.image.site
    set_rules(site=shut, only_readers=[cast.rita.pk], actor=cast.stella)
    other = lease_next(reader=cast.ravi)
    assert other is not None
    assert {other.task.image, let_go.task.image} == {row.image for row in rows}
    submit_read(task=other.task, reader=cast.ravi, answer=Answer("regular"))
    assert not standing.of(cast.ravi).must_qualify
