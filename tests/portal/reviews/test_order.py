"""Which question comes next: the unsure first, sites in equal shares, exams together, the same for the same reader; nothing starves."""

from __future__ import annotations

import bisect
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pytest
from django.db.models.functions import Now

from portal.accounts.models import Role, User
from portal.images.models import Exam, Image, Patient
from portal.reviews import order, queue, selectors
from portal.reviews.leases import LEASE
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.order import IN_A_ROW, LOOK_BACK, WINDOW, Given, Waiting
from tests.cast import Cast, make_image, make_read, make_user

DAY = 86_400.0


class Queue:
    """A queue of fresh questions in memory, whose sites' heads are all that a reader is shown: `order.following` needs no more."""

    def __init__(self) -> None:
        self.sites: dict[int, list[tuple[float, int, Waiting]]] = defaultdict(list)
        self.exams: dict[int, list[Waiting]] = defaultdict(list)
        self.given: dict[int, list[Given]] = defaultdict(list)
        self.count = 0

    def ask(self, site: int, turn: float, exam: int | None = None) -> int:
        self.count += 1
        one = Waiting(self.count, site, turn, exam)
        bisect.insort(self.sites[site], (turn, one.id, one))
        if exam:
            self.exams[exam].append(one)
        return one.id

    def read(self, reader: int, *, avoid: int = 0) -> Waiting | None:
        """What this reader is given; `avoid`: their own site."""
        mine = self.given[reader]
        shown = [one for site, rows in self.sites.items() if site != avoid for _, _, one in rows[:WINDOW]]
        shown += [one for one in self.exams[mine[0].exam or 0] if one not in shown] if mine else []
        found = order.following(shown, mine[:LOOK_BACK], f"reader-{reader}")
        if found is None:
            return None
        rows = self.sites[found.site]
        del rows[bisect.bisect_left(rows, (found.turn, found.id))]
        if not rows:
            del self.sites[found.site]
        if found.exam:
            self.exams[found.exam].remove(found)
        self.given[reader] = [Given(1 + len(mine) * 7 + reader, found.id, found.site, found.exam), *mine][:LOOK_BACK]
        return found


def waits(*, flood: int, readers: int = 4, a_day: int = 40, exams: int = 1) -> list[int]:
    """How many readings each of the river's 400 questions waits, of which as many come a day as are read; the flood comes at once."""
    waiting, river = Queue(), 2
    asked: dict[int, int] = {}
    found: list[int] = []
    for number in range(flood):
        waiting.ask(1, order.turn(0.0, (number % 97) / 97), 1 + number // exams)
    for reading in range(20_000):
        if reading % 4 == 0 and len(asked) < 400:
            asked[waiting.ask(river, order.turn(reading / a_day * DAY, (reading % 89) / 89))] = reading
        one = waiting.read(reading % readers)
        if one and one.site == river:
            found.append(reading - asked[one.id])
        if len(found) == 400:
            return found
    raise AssertionError(f"{400 - len(found)} were never read")


@pytest.mark.parametrize("exams", [1, 6])
def test_twenty_thousand_of_one_site_at_most_double_the_wait_of_another(exams: int) -> None:
    """The river alone would be read as it comes. Beside a flood, half of what is read is the river's, as long as it waits."""
    alone, beside = waits(flood=0), waits(flood=20_000, exams=exams)
    assert max(alone) <= 1
    assert sum(beside) / len(beside) <= 2 * (1 + IN_A_ROW)
    assert max(beside) <= 60


def test_a_backlog_takes_at_most_twice_as_long_beside_a_flood() -> None:
    def readings(flood: int) -> int:
        waiting = Queue()
        for number in range(flood):
            waiting.ask(1, order.turn(0.0, 0.9), 1 + number // 5)
        rest = {waiting.ask(2, order.turn(0.0, 0.1)) for _ in range(500)}
        taken = 0
        while rest:
            one = waiting.read(taken % 6)
            assert one is not None
            taken, rest = taken + 1, rest - {one.id}
        return taken

    assert readings(20_000) <= 2.1 * readings(0)


def test_the_least_in_doubt_is_read_in_bounded_time_though_more_comes_than_can_be_read() -> None:
    """Each day 60 of the highest priority come and 40 are read: one of no priority is before all that come two weeks after it."""
    waiting = Queue()
    low = waiting.ask(1, order.turn(0.0, 0.0))
    read_on = None
    for day in range(60):
        for _ in range(60):
            waiting.ask(1, order.turn(day * DAY, 1.0))
        for reading in range(40):
            one = waiting.read(reading % 3)
            read_on = day if one and one.id == low else read_on
    assert read_on is not None
    assert 14 <= read_on <= 14 * 60 / 40 + 1


def test_an_exam_is_read_together_and_nobody_camps_on_one() -> None:
    waiting = Queue()
    for number in range(60):
        waiting.ask(1, 0.0, 1 + number // 4)
    for _ in range(40):
        waiting.ask(2, 0.0, 99)
    seen = [one.exam for one in (waiting.read(1) for _ in range(100)) if one]
    changes = sum(a != b for a, b in itertools.pairwise(seen))
    assert changes <= 15 + 2 * 40 // IN_A_ROW
    assert max(len(run) for run in _runs(seen)) < 2 * IN_A_ROW


def _runs(seen: Iterable[int | None]) -> list[list[int | None]]:
    runs: list[list[int | None]] = []
    for exam in seen:
        if runs and runs[-1][-1] == exam:
            runs[-1].append(exam)
        else:
            runs.append([exam])
    return runs


def _sequence(reader: int, tasks: Sequence[tuple[int, float]]) -> list[int]:
    waiting = Queue()
    for site, turn in tasks:
        waiting.ask(site, turn)
    return [one.id for one in (waiting.read(reader) for _ in range(30)) if one]


def test_the_order_is_the_readers_own_and_repeats() -> None:
    tasks = [(1 + number % 3, 0.0) for number in range(60)]
    assert _sequence(1, tasks) == _sequence(1, tasks)
    firsts = Counter(_sequence(reader, tasks)[0] for reader in range(1, 40))
    assert len(firsts) > 12  # of 24 equals that may come first


def test_the_surer_by_far_never_comes_first() -> None:
    assert set(_sequence(5, [(1, order.turn(0.0, p)) for p in (0.9, 0.5, 0.1)])[:1]) == {1}


# ---- the same in SQL --------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_statement_takes_what_the_pure_order_names(cast: Cast) -> None:
    rng = random.Random(11)
    people = [make_user(f"reader{n}", (Role.READER, cast.river if n == 1 else None)) for n in range(5)]
    for number in range(50):
        _question(cast, number, rng, people)
    for person in people:
        for _ in range(12):
            waiting = _waiting(person)
            expected = order.following(waiting, _given(person), queue.seed(person))
            task = queue.lock_next(person, "reader")
            assert (task and task.pk) == (expected and expected.id)
            if task is None:
                break
            Lease.objects.create(task=task, reader=person, token=f"{person.pk}-{task.pk}", until=Now() + LEASE, ended=Now())
            make_read(task, person)
            ReviewTask.objects.filter(pk=task.pk, answered=2).update(state="closed")


def _question(cast: Cast, number: int, rng: random.Random, people: list[User]) -> None:
    site = rng.choice([cast.north, cast.river])
    image = make_image(site, state="in_review")
    patient, _ = Patient.objects.get_or_create(site=site, code=f"Q{number // 4}")
    exam, _ = Exam.objects.get_or_create(patient=patient, code="E")
    Image.objects.filter(pk=image.pk).update(exam=rng.choice([exam.pk, exam.pk, None]))
    tasks = ReviewTask.objects.filter(image=image)
    tasks.update(priority=rng.choice([0.1, 0.5, 0.52, 0.9]), reads_needed=2)
    for person in rng.sample(people[2:], rng.choice([0, 0, 1])):
        make_read(tasks.get(), person)


def _waiting(person: User) -> list[Waiting]:
    rows = selectors.readable_by(person).values_list("pk", "image__site", "turn", "image__exam", "readers")
    return [Waiting(pk, site, turn, exam, tuple(readers)) for pk, site, turn, exam, readers in rows]


def _given(person: User) -> list[Given]:
    rows = Lease.objects.filter(reader=person).order_by("-pk").values_list("pk", "task", "task__image__site", "task__image__exam")
    return [Given(*row) for row in rows[:LOOK_BACK]]


@pytest.mark.django_db
def test_the_database_keeps_what_the_queue_needs(cast: Cast) -> None:
    task = ReviewTask.objects.create(image=make_image(cast.north, state="analysed"), priority=0.25)
    task.refresh_from_db()
    assert task.site_id == cast.north.pk
    assert task.turn == pytest.approx(order.turn(task.created.timestamp(), 0.25), abs=1e-3)
    second, first = make_read(task, cast.ravi), make_read(task, cast.rita)
    make_read(task, cast.ada, role="adjudicator")
    task.refresh_from_db()
    assert task.readers == sorted([first.reader_id, second.reader_id])
    type(first).objects.filter(pk=first.pk).update(current=False, undone=True)
    ReviewTask.objects.filter(pk=task.pk).update(priority=1.0)
    task.refresh_from_db()
    assert task.readers == [second.reader_id]
    assert task.turn == pytest.approx(order.turn(task.created.timestamp(), 1.0), abs=1e-3)
