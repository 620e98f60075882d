"""Whatever can happen in the reading room, in any order: what must hold, holds after every step (a state machine, on the real database).

WINNOW_MACHINE_EXAMPLES and WINNOW_MACHINE_STEPS make it longer: `make machine`. It goes by rounds of ROUND examples, each drawn from a seed
of its own, says before each how far it is, and begins where WINNOW_MACHINE_FROM says: what was cut off is continued, and what failed
is run again.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from portal.accounts.models import Membership, Role, User
from portal.core.errors import WinnowError
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.leases import lease_next, release, reserve
from portal.reviews.models import Lease, Read, ReviewRules, ReviewTask
from portal.reviews.room.versions import amend, undo
from portal.reviews.services import Answer, reopen, submit_read, withdraw
from portal.reviews.skips import skip
from tests.cast import Cast, make_cast, make_image, make_user
from tests.portal.reviews import looks

EXAMPLES = int(os.environ.get("WINNOW_MACHINE_EXAMPLES", "12"))
STEPS = int(os.environ.get("WINNOW_MACHINE_STEPS", "25"))
FROM = int(os.environ.get("WINNOW_MACHINE_FROM", "1"))
ROUND = 10
LONG = EXAMPLES > 2 * ROUND
PEOPLE = ("rita", "ravi", "rosa", "roy", "ada", "otto")
READERS, ADJUDICATORS = PEOPLE[:4], PEOPLE[4:]
KINDS = ("regular", "regular", "green_filter", "lugol_iodine", "cannot_tell", "unusable")
people, readers, adjudicators = (st.sampled_from(names) for names in (PEOPLE, READERS, ADJUDICATORS))
kinds, places = st.sampled_from(KINDS), st.integers(0, 3)


class Room(RuleBasedStateMachine):
    """Four pictures, four readers and two adjudicators. Each example is a transaction that is undone."""

    def __init__(self) -> None:
        super().__init__()
        self.open = transaction.atomic()
        self.open.__enter__()
        self.cast: Cast = make_cast()
        more = {
            "leo": (Role.LEAD, self.cast.river), "rosa": (Role.READER, self.cast.north), "roy": (Role.READER, None),
            "otto": (Role.ADJUDICATOR, None),
        }  # fmt: skip
        self.by_name: dict[str, User] = {**self.cast.people(), **{name: make_user(name, role) for name, role in more.items()}}
        self.images: list[Image] = []
        self.gone: set[str] = set()
        self.answers = 0
        """Rows of answers there must be: none is ever lost."""

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.open.__exit__(None, None, None)

    @initialize(asked=st.lists(st.sampled_from([1, 2, 2, 3]), min_size=4, max_size=4), unsure=st.booleans())
    def ask(self, asked: list[int], unsure: bool) -> None:
        for number, reads in enumerate(asked):
            site = self.cast.north if number % 2 else self.cast.river
            image = make_image(site, state="in_review", patient=f"P{number // 2}")
            rules = ReviewRules.objects.create(site=site, reads_needed=reads, unsure_asks=unsure)
            ReviewTask.objects.filter(image=image).update(reads_needed=reads, rules=rules)
            self.images.append(image)

    # ---- what people do -----------------------------------------------------------------------------------------------
    @rule(name=readers)
    def read_next(self, name: str) -> None:
        """Once one holds a picture, one holds the same."""
        if name in self.gone:
            return
        first = self._do(lease_next, reader=self.by_name[name])
        again = self._do(lease_next, reader=self.by_name[name])
        assert (first and first.pk) == (again and again.pk)

    @rule(name=adjudicators)
    def adjudicate_next(self, name: str) -> None:
        if name in self.gone:
            return
        lease = self._do(lease_next, reader=self.by_name[name], role="adjudicator")
        assert lease is None or not Read.objects.filter(task=lease.task, reader=self.by_name[name], current=True).exists()

    @rule(name=readers)
    def fetch_ahead(self, name: str) -> None:
        if name in self.gone:
            return
        ahead = self._do(reserve, reader=self.by_name[name]) or []
        assert len({lease.task_id for lease in ahead}) == len(ahead) <= 2

    @rule(name=people, place=places, kind=kinds, unsure=st.booleans())
    def submit(self, name: str, place: int, kind: str, unsure: bool) -> None:
        """What one holds; where one holds nothing, what one held once: a late answer, a double click, the back button."""
        if name in self.gone:
            return
        reader = self.by_name[name]
        rows = Lease.objects.filter(reader=reader).select_related("task__image").order_by("ended", "-id")
        lease = next(iter(rows[place % 2 : place % 2 + 1]), None)
        if lease is None:
            return
        role: Any = "adjudicator" if name in ADJUDICATORS else "reader"
        reasons = {"unusable": ("blurred",), "cannot_tell": ("between_kinds",)}.get(kind, ())
        answer = Answer(kind, reasons=reasons, role=role, note="why", confidence=1 if unsure else 3)
        if self._do(submit_read, task=lease.task, reader=reader, answer=answer):
            self.answers += 1
            assert Read.objects.filter(task=lease.task, reader=reader, current=True, kind=kind).count() == 1

    @rule(name=people, place=places)
    def undo_it(self, name: str, place: int) -> None:
        task = self._answered(name, place)
        if task and (lease := self._do(undo, task=task, reader=self.by_name[name])):
            assert lease.task_id == task.pk
            assert not Read.objects.filter(task=task, reader=self.by_name[name], current=True).exists()

    @rule(name=people, place=places, kind=kinds)
    def amend_it(self, name: str, place: int, kind: str) -> None:
        task = self._answered(name, place)
        if task is None:
            return
        reasons = {"unusable": ("blurred",), "cannot_tell": ("between_kinds",)}.get(kind, ())
        before = Read.objects.count()
        role: Any = "adjudicator" if name in ADJUDICATORS else "reader"
        self._do(amend, task=task, reader=self.by_name[name], answer=Answer(kind, reasons=reasons, role=role, note="why"))
        self.answers += Read.objects.count() - before

    @rule(name=people, place=places, how=st.sampled_from(["release", "skip", "run out", "run out"]))
    def let_go(self, name: str, place: int, how: str) -> None:
        rows = Lease.objects.filter(reader=self.by_name[name], ended=None).select_related("task__image").order_by("id")
        lease = next(iter(rows[place % 2 : place % 2 + 1]), None)
        if lease is None:
            return
        if how == "run out":
            Lease.objects.filter(pk=lease.pk).update(until=Now())
        elif how == "skip":
            self._do(skip, lease=lease, reader=self.by_name[name], reason="not_now")
        else:
            self._do(release, lease=lease, reader=self.by_name[name])

    @rule(place=places)
    def a_minute_passes(self, place: int) -> None:
        """Every lease of one picture runs out at once."""
        Lease.objects.filter(task__image=self.images[place], ended=None).update(until=Now())

    # ---- what befalls a picture or a person ---------------------------------------------------------------------------
    @rule(place=places)
    @precondition(lambda self: sum(image.state != "withdrawn" for image in self._fresh()) > 2)
    def take_out(self, place: int) -> None:
        image = self._fresh()[place]
        lead = self.by_name["lena" if image.site_id == self.cast.north.pk else "leo"]
        self._do(withdraw, image=image, actor=lead, reason="asked for")

    @rule(place=places)
    def ask_again(self, place: int) -> None:
        self._do(reopen, image=self._fresh()[place], actor=self.cast.sys)

    @rule(name=people)
    def lose_or_get_the_role(self, name: str) -> None:
        """Who has no role comes through no route any more; what they answered and hold stays until it is done or runs out."""
        user, role = self.by_name[name], Role.ADJUDICATOR if name in ADJUDICATORS else Role.READER
        if name in self.gone:
            Membership.objects.create(user=user, role=role, site=self.cast.north if name == "rosa" else None)
        else:
            Membership.objects.filter(user=user, role=role).delete()
        self.gone ^= {name}
        self.by_name[name] = User.objects.get(pk=user.pk)

    # ---- what must hold -----------------------------------------------------------------------------------------------
    @invariant()
    def never_more_at_work_than_answers_missing(self) -> None:
        assert looks.over_assigned() == []

    @invariant()
    def everything_is_in_step(self) -> None:
        assert looks.wrong() == []

    @invariant()
    def nothing_is_closed_short_and_labels_say_what_answers_say(self) -> None:
        assert looks.closed_short() == []

    @invariant()
    def no_answer_is_lost(self) -> None:
        assert Read.objects.count() == self.answers

    @invariant()
    def one_label_counts(self) -> None:
        for image in self._fresh():
            labels = Label.objects.filter(image=image, current=True).count()
            assert labels <= 1
            assert image.state != "settled" or labels == 1

    # ---- help ---------------------------------------------------------------------------------------------------------
    def _do(self, service: Callable[..., Any], **what: Any) -> Any:
        """A refusal in words is no fault, and has written nothing; the room is as it was."""
        before = Read.objects.count(), Lease.objects.count()
        try:
            with transaction.atomic():
                return service(**what)
        except WinnowError:
            assert (Read.objects.count(), Lease.objects.count()) == before
            return None

    def _answered(self, name: str, place: int) -> ReviewTask | None:
        rows = Read.objects.filter(reader=self.by_name[name], current=True).select_related("task__image").order_by("-id")
        read = next(iter(rows[place % 2 : place % 2 + 1]), None)
        return read.task if read else None

    def _fresh(self) -> list[Image]:
        by_id = Image.objects.in_bulk([image.pk for image in self.images])
        return [by_id[image.pk] for image in self.images]


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    if not LONG:
        play(EXAMPLES, derandomize=True)
        return
    for number in told(range(FROM, -(-EXAMPLES // ROUND) + 1), capsys):
        seed(number)(Room)
        play(ROUND, derandomize=False)


def play(examples: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        Room,
        settings=settings(
            max_examples=examples, stateful_step_count=STEPS, deadline=None, derandomize=derandomize, print_blob=True, database=None,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
        ),
    )  # fmt: skip


def told(rounds: range, capsys: pytest.CaptureFixture[str]) -> Iterator[int]:
    """Each of the rounds, and on the screen how far they are, how long the rest takes, and how to go on where they are cut off."""
    began = time.monotonic()
    for done, number in enumerate(rounds):
        with capsys.disabled():
            left = f", about {(time.monotonic() - began) / done * (len(rounds) - done) / 60:.0f} min left" if done else ""
            where = f"{time.strftime('%H:%M:%S')} round {number} of {rounds.stop - 1}, {ROUND} times {STEPS} steps{left}"
            sys.stderr.write(f"{where}; if it is cut off, go on with MACHINE_ARGS='--from {number}'\n")
            sys.stderr.flush()
        yield number
