"""A question that an amendment takes back from the adjudicators is in nobody's hands, nor in those of one who has seen others' words."""

from __future__ import annotations

import pytest

from portal.accounts.models import Role
from portal.reviews import queue, selectors
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.room.versions import amend
from portal.reviews.services import Answer, lease_next, set_rules, submit_read
from tests.cast import Cast, make_task, make_user

pytestmark = pytest.mark.django_db


def test_an_adjudicators_lease_ends_with_the_amendment_and_is_no_readers(cast: Cast) -> None:
    set_rules(site=None, reads_needed=2, t_lo=None, t_hi=None, actor=cast.max)
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    readers = [make_user("one", (Role.READER, cast.river)), make_user("two", (Role.READER, None))]
    for reader in readers:
        lease = lease_next(reader=reader)
        assert lease is not None
        submit_read(task=lease.task, reader=reader, answer=Answer("cannot_tell"))
    held = lease_next(reader=cast.ada, role="adjudicator")
    assert held is not None
    assert Lease.objects.get(pk=held.pk).adjudicating
    amend(task=held.task, reader=readers[0], answer=Answer("regular"))
    task.refresh_from_db()
    assert (task.state, Lease.objects.get(pk=held.pk).ended is None) == ("open", False)
    # were it alive all the same
    Lease.objects.filter(pk=held.pk).update(ended=None)
    assert selectors.live_lease(cast.ada, role="reader") is None


@pytest.mark.parametrize(("role", "state"), [("reader", "adjudication"), ("adjudicator", "open")])
def test_a_question_that_goes_to_the_other_room_before_it_is_locked_is_given_to_nobody(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, role: queue.Role, state: str
) -> None:
    task, honest = make_task(cast.north), queue.lock_next
    person = make_user("both", (Role.READER, None), (Role.ADJUDICATOR, None))
    ReviewTask.objects.filter(pk=task.pk).update(state="open" if role == "reader" else "adjudication")
    chosen = honest(person, role)
    assert chosen is not None
    ReviewTask.objects.filter(pk=task.pk).update(state=state)
    monkeypatch.setattr(queue, "lock_next", lambda *_, **__: chosen)
    assert lease_next(reader=person, role=role) is None
    assert not Lease.objects.exists()
