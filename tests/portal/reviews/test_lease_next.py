"""A reader is given the next picture: once, never of their own site first, never more readers than answers still needed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Membership, Role, User
from portal.audit.models import AuditEvent
from portal.reviews import queue, routing, selectors
from portal.reviews.leases import LEASE, reserve
from portal.reviews.models import Lease, ReviewRules, ReviewTask
from portal.reviews.routing import ReaderFacts, TaskFacts
from portal.reviews.services import Answer, extend_lease, lease_next, release, submit_read
from portal.reviews.skips import skip
from tests.cast import Cast, make_image, make_read, make_task, make_user

pytestmark = pytest.mark.django_db


def queries(act: Callable[[], Any]) -> int:
    """How many statements an action takes, transaction control aside."""
    with CaptureQueriesContext(connection) as captured:
        act()
    control = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "ROLLBACK")
    return sum(not query["sql"].startswith(control) for query in captured)


def expire(lease: Lease) -> None:
    Lease.objects.filter(pk=lease.pk).update(until=Now() - LEASE)


def test_the_most_uncertain_comes_first(cast: Cast) -> None:
    first, second = make_task(cast.north), make_task(cast.north)
    ReviewTask.objects.filter(pk=second.pk).update(priority=0.9)
    lease = lease_next(reader=cast.rita)
    assert lease is not None
    assert lease.task_id == second.pk
    assert AuditEvent.objects.filter(action="lease", actor_id=cast.rita.pk, subject_id=second.pk).count() == 1
    assert first.pk != second.pk


def test_a_reader_who_holds_a_picture_gets_the_same_again(cast: Cast) -> None:
    make_task(cast.north), make_task(cast.north)
    first, again = lease_next(reader=cast.rita), lease_next(reader=cast.rita)
    assert first is not None
    assert again is not None
    assert (again.pk, again.token) == (first.pk, first.token)


def test_the_own_site_is_never_read_first(cast: Cast, settings: Any) -> None:
    make_task(cast.river)
    assert lease_next(reader=cast.rita) is None
    assert lease_next(reader=cast.ravi) is not None
    settings.READ_OWN_SITE_FIRST = True
    ReviewTask.objects.update(reads_needed=2)
    assert lease_next(reader=cast.rita) is not None


def test_a_picture_that_is_held_is_not_given_to_another(cast: Cast) -> None:
    make_task(cast.north)
    assert lease_next(reader=cast.rita) is not None
    assert lease_next(reader=cast.ravi) is None


def test_two_reads_are_taken_side_by_side(cast: Cast) -> None:
    ReviewTask.objects.filter(pk=make_task(cast.north).pk).update(reads_needed=2)
    assert lease_next(reader=cast.rita) is not None
    assert lease_next(reader=cast.ravi) is not None
    assert lease_next(reader=cast.ada) is None


def test_an_expired_lease_frees_the_picture(cast: Cast) -> None:
    make_task(cast.north)
    lease = lease_next(reader=cast.rita)
    assert lease is not None
    expire(lease)
    assert lease_next(reader=cast.ravi) is not None


def test_after_its_time_the_same_reader_gets_a_new_address(cast: Cast) -> None:
    make_task(cast.north)
    first = lease_next(reader=cast.rita)
    assert first is not None
    expire(first)
    second = lease_next(reader=cast.rita)
    assert second is not None
    assert second.token != first.token
    first.refresh_from_db()
    assert first.ended is not None


def test_nobody_reads_the_same_picture_twice(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    make_read(task=task, reader=cast.rita, kind="regular")
    assert lease_next(reader=cast.rita) is None


def test_an_adjudicator_never_settles_what_they_have_read(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication")
    assert lease_next(reader=cast.rita) is None
    make_read(task=task, reader=cast.ada, kind="regular")
    assert lease_next(reader=cast.ada, role="adjudicator") is None
    other = make_user("otto", (Role.ADJUDICATOR, None))
    assert lease_next(reader=other, role="adjudicator") is not None


def test_who_held_a_question_to_settle_it_is_no_reader_of_that_image_any_more(cast: Cast) -> None:
    """They have seen what others said, also where the question goes back to readers; they may still settle it."""
    task = make_task(cast.north)
    make_read(task, cast.rita), make_read(task, cast.ravi, "green_filter")
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication", reads_needed=2)
    held = lease_next(reader=cast.ada, role="adjudicator")
    assert held is not None
    release(lease=held, reader=cast.ada)
    ReviewTask.objects.filter(pk=task.pk).update(state="open", reads_needed=3)
    assert lease_next(reader=cast.ada) is None
    other = make_user("otto", (Role.ADJUDICATOR, None))
    assert lease_next(reader=other) is not None
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication")
    assert lease_next(reader=other, role="adjudicator") is not None
    assert Lease.objects.get(reader=other).adjudicating, "it was taken to read, and shows what others said by now"
    Lease.objects.filter(reader=other).update(ended=Now())
    assert lease_next(reader=cast.ada, role="adjudicator") is not None


def test_giving_a_picture_back_frees_it(cast: Cast) -> None:
    make_task(cast.north)
    lease = lease_next(reader=cast.rita)
    assert lease is not None
    release(lease=lease, reader=cast.rita)
    assert lease_next(reader=cast.ravi) is not None
    assert AuditEvent.objects.filter(action="release").count() == 1


def test_a_lease_is_extended_while_it_lives(cast: Cast) -> None:
    make_task(cast.north)
    lease = lease_next(reader=cast.rita)
    assert lease is not None
    assert extend_lease(lease=lease, reader=cast.rita)
    assert not extend_lease(lease=lease, reader=cast.ravi)
    expire(lease)
    assert not extend_lease(lease=lease, reader=cast.rita)


def test_a_withdrawn_image_is_not_given_out(cast: Cast) -> None:
    image = make_image(cast.north, state="in_review")
    type(image).objects.filter(pk=image.pk).update(state="withdrawn")
    assert lease_next(reader=cast.rita) is None


def test_a_lease_costs_six_queries_at_most(cast: Cast) -> None:
    make_task(cast.north)
    assert queries(lambda: lease_next(reader=cast.rita)) <= 6
    lease = selectors.live_lease(cast.rita, role="reader")
    assert lease is not None
    expire(lease)
    assert queries(lambda: lease_next(reader=cast.rita)) <= 6
    assert queries(lambda: lease_next(reader=cast.ravi)) <= 6


def test_the_database_and_the_pure_rules_say_the_same(cast: Cast) -> None:
    """Sixty tasks in all sorts of states: who may read what; and what is given out is among it, as long as there is any."""
    rng = random.Random(3)
    people = [cast.rita, cast.ravi, cast.ada, cast.bob, make_user("rosa", (Role.READER, cast.river))]
    for _ in range(60):
        site = rng.choice([cast.north, cast.river])
        task = ReviewTask.objects.create(
            image=_image(site),
            priority=rng.choice([0.1, 0.5, 0.9]),
            reads_needed=rng.choice([1, 2, 3]),
            state=rng.choice(["open", "open", "adjudication"]),
        )
        shuffled = rng.sample(people, 5)
        for person in shuffled[: rng.choice([0, 0, 1, 2])]:
            make_read(task=task, reader=person, kind="regular")
        for person in shuffled[2 : 2 + rng.choice([0, 0, 1])]:
            until = Now() + LEASE if rng.random() < 0.7 else Now() - LEASE
            Lease.objects.create(task=task, reader=person, token=str(rng.random()), until=until)
        for person in rng.sample(people, rng.choice([0, 0, 1, 2])):
            _knows(person, task, settled=rng.random() < 0.5)
    facts = [_facts(task) for task in ReviewTask.objects.exclude(state="cancelled").select_related("image")]
    for person in people:
        reader = ReaderFacts(person.pk, frozenset(person.memberships.exclude(site=None).values_list("site", flat=True)))
        mine = {t.id for t in facts if person.pk in t.holders}
        readable = {t.id for t in facts if routing.may_read(reader, t, own_site_first=False)}
        assert set(selectors.readable_by(person).values_list("pk", flat=True)) == readable
        assert given_out(person, "reader") == readable - mine
        settled = {t.id for t in facts if routing.may_adjudicate(reader, t)}
        assert set(selectors.adjudicable_by(person).values_list("pk", flat=True)) == settled
        assert given_out(person, "adjudicator") == settled - mine


def _knows(person: User, task: ReviewTask, *, settled: bool) -> None:
    """Of an earlier question about its image: what others said, or else what the model says."""
    earlier = ReviewTask.objects.create(image=task.image, state="cancelled")
    shown = {"adjudicating": True} if settled else {"revealed": Now()}
    Lease.objects.create(task=earlier, reader=person, token=f"earlier-{earlier.pk}", until=Now(), ended=Now(), **shown)


def given_out(person: User, role: queue.Role) -> set[int]:
    """All that this person would be given, one after another, each held by nobody but them."""
    found = set()
    with transaction.atomic():
        while task := queue.lock_next(person, role):
            assert task.pk not in found
            found.add(task.pk)
            Lease.objects.update_or_create(task=task, reader=person, ended=None, defaults={"token": str(task.pk), "until": Now() + LEASE})
        transaction.set_rollback(True)
    return found


def _image(site: Any) -> Any:
    image = make_image(site, state="in_review")
    ReviewTask.objects.filter(image=image).update(state="cancelled")
    return image


def _facts(task: ReviewTask) -> TaskFacts:
    held = Lease.objects.filter(selectors.LIVE, task=task).values_list("reader", flat=True)
    known = Lease.objects.filter(task__image=task.image)
    where: dict[int, frozenset[int]] = defaultdict(frozenset)
    for person, site in Membership.objects.exclude(site=None).values_list("user", "site"):
        where[person] |= {site}
    return TaskFacts(
        id=task.pk,
        site=task.image.site_id,
        priority=task.priority,
        reads_needed=task.reads_needed,
        readers=frozenset(task.reads.values_list("reader", flat=True)),
        holders=frozenset(held),
        where=where,
        adjudication=task.state == "adjudication",
        told=frozenset(known.filter(revealed__isnull=False).values_list("reader", flat=True)),
        settlers=frozenset(known.filter(adjudicating=True).values_list("reader", flat=True)),
    )


def test_neither_rules_nor_exams_nor_earlier_answers_cost_a_query(cast: Cast) -> None:
    """As above with a study's rules, an exam that goes on, pictures fetched ahead, what was skipped, and forty answers that are still
    open; and an answer takes six, twelve where it settles."""
    rule = ReviewRules.objects.create(site=cast.north, reads_needed=2, only_sites=[cast.river.pk], only_readers=[cast.ravi.pk])
    for number in range(46):
        task = make_task(make_image(cast.north, state="in_review", patient=f"P{number // 5}"))
        ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2, rules=rule)
        if number < 40:
            make_read(task, cast.rita)
            Lease.objects.create(task=task, reader=cast.rita, token=f"over-{number}", until=Now(), ended=Now())
    held = lease_next(reader=cast.rita)
    assert held is not None
    assert queries(lambda: reserve(reader=cast.rita)) <= 6
    skip(lease=held, reader=cast.rita, reason="not_now")
    assert queries(lambda: lease_next(reader=cast.rita)) <= 6
    for _ in range(2):
        given = lease_next(reader=cast.rita)
        assert given is not None
        assert queries(lambda given=given: submit_read(task=given.task, reader=cast.rita, answer=Answer("regular"))) <= 6  # type: ignore[misc]
        assert queries(lambda: lease_next(reader=cast.rita)) <= 6
    second = lease_next(reader=cast.ravi)
    while second and not second.task.answered:
        submit_read(task=second.task, reader=cast.ravi, answer=Answer("regular"))
        second = lease_next(reader=cast.ravi)
    assert second is not None
    assert queries(lambda: submit_read(task=second.task, reader=cast.ravi, answer=Answer("regular"))) <= 12
    assert ReviewTask.objects.get(pk=second.task_id).state == "closed"
