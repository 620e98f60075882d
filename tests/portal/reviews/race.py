"""Readers as processes, all at once on the same questions: answers, reservations, undo, skips, leases that run out and late answers.

Meanwhile somebody looks again and again whether more are at work on a question than answers are missing. In the end every answer that a
process was told is recorded must be there, once, and no question closed before its time.
"""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import connection, connections
from django.db.models.functions import Now

from portal.accounts.models import Role, Site, User
from portal.core.errors import WinnowError
from portal.images.models import Image
from portal.reviews.leases import lease_next, release, reserve
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.room.versions import undo
from portal.reviews.services import Answer, submit_read
from portal.reviews.skips import skip
from tests.cast import Cast, make_image, make_user
from tests.portal.reviews import looks

Told = dict[int, str]
"""By task: what a reader was told is recorded."""


@dataclass
class Result:
    readers: int
    tasks: int
    answers: int = 0
    undone: int = 0
    skipped: int = 0
    run_out: int = 0
    late: int = 0
    refused: int = 0
    looks: int = 0
    over_assigned: int = 0
    lost: int = 0
    doubled: int = 0
    closed_short: int = 0
    not_closed: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def faults(self) -> list[str]:
        found = [f"{name} {value}" for name in ("over_assigned", "lost", "doubled", "closed_short") if (value := getattr(self, name))]
        return found + self.wrong

    def lines(self) -> Iterator[str]:
        for name, value in asdict(self).items():
            yield f"{name.replace('_', ' '):<16} {round(value, 1) if isinstance(value, float) else value}"


def questions(site: Site, count: int) -> None:
    """So many open questions about one picture's twins, of which a third asks for one answer, two answers and three answers each."""
    first = make_image(site, state="in_review")
    ReviewTask.objects.filter(image=first).update(state="cancelled")
    twins = Image.objects.bulk_create(
        Image(
            site=site, upload=first.upload, exam=first.exam if k % 3 else None, sha256=f"{k:064}", size=1, format="jpeg", original_name="t"
        )
        for k in range(count)
    )
    ids = [twin.pk for twin in twins]
    picture = {"clean_sha256": "0" * 64, "clean_format": "jpg", "width": 90, "height": 90}
    Image.objects.filter(pk__in=ids).update(state="clean", **picture)
    for state in ("analysed", "in_review"):
        Image.objects.filter(pk__in=ids).update(state=state)
    ReviewTask.objects.bulk_create(ReviewTask(image=twin, priority=k % 7 / 7, reads_needed=1 + k % 3) for k, twin in enumerate(twins))


def run(cast: Cast, *, readers: int, tasks: int, seed: int = 7) -> Result:
    """All at once, until nothing is left for anybody."""
    result = Result(readers, tasks)
    questions(cast.north, tasks // 2)
    questions(cast.river, tasks - tasks // 2)
    people = [make_user(f"reader{n}", (Role.READER, (None, None, cast.north, cast.river)[n % 4])) for n in range(readers)]
    began = time.monotonic()
    told = _raced(people, seed, result)
    _finish([*people, *(make_user(f"late{n}", (Role.READER, None)) for n in range(3))], told)
    result.seconds = time.monotonic() - began
    _judge(result, told)
    return result


def _raced(people: list[User], seed: int, result: Result) -> dict[int, Told]:
    """What each reader's process was told; in this process a thread looks on."""
    connections.close_all()
    context, over = multiprocessing.get_context("fork"), threading.Event()
    pipes, processes = [], []
    for number, reader in enumerate(people):
        here, there = context.Pipe(duplex=False)
        processes.append(context.Process(target=_process, args=(reader, seed * 1000 + number, there), daemon=True))
        pipes.append(here)
    for process in processes:
        process.start()
    looker = threading.Thread(target=_look, args=(over, result))
    looker.start()
    found = {}
    for reader, pipe in zip(people, pipes, strict=True):
        told, counts = pipe.recv()
        found[reader.pk] = told
        for name, value in counts.items():
            setattr(result, name, getattr(result, name) + value)
    for process in processes:
        process.join(30)
    over.set()
    looker.join()
    return found


def _look(over: threading.Event, result: Result) -> None:
    while not over.is_set():
        result.over_assigned += len(looks.over_assigned())
        result.looks += 1
    connection.close()


def _process(reader: User, seed: int, pipe: Any) -> None:
    # What the other process had open is not this one's: libpq closes it only where it was opened
    for known in connections.all(initialized_only=True):
        known.connection = None
    one = Racer(reader, random.Random(seed))
    try:
        one.work()
    except BaseException as error:
        one.counts["wrong"] = [f"{type(error).__name__}: {error}"]
    connections.close_all()
    pipe.send((one.told, one.counts))


class Racer:
    """One reader, who does all that a reader may do, at random."""

    def __init__(self, reader: User, dice: random.Random) -> None:
        self.reader, self.dice = reader, dice
        self.told: Told = {}
        self.counts: dict[str, Any] = dict.fromkeys(("answers", "undone", "skipped", "run_out", "late", "refused", "over_assigned"), 0)

    def work(self) -> None:
        idle = 0
        while idle < 5:
            lease = lease_next(reader=self.reader)
            if lease is None:
                idle += 1
                time.sleep(0.02)
                continue
            idle = 0
            self.counts["over_assigned"] += len(looks.over_assigned(lease.task_id))
            try:
                self._do(lease)
            except WinnowError:
                self.counts["refused"] += 1

    def _do(self, lease: Lease) -> None:
        if self.dice.random() < 0.4:
            reserve(reader=self.reader)
        chance = self.dice.random()
        if chance < 0.02:
            skip(lease=lease, reader=self.reader, reason="not_now")
            self.counts["skipped"] += 1
        elif chance < 0.04:
            release(lease=lease, reader=self.reader)
        elif chance < 0.10:
            self._run_out(lease)
        else:
            self._answer(lease)

    def _run_out(self, lease: Lease) -> None:
        """The lease ends by itself; half of the answers come all the same."""
        Lease.objects.filter(pk=lease.pk, ended=None).update(until=Now())
        self.counts["run_out"] += 1
        if self.dice.random() < 0.5:
            time.sleep(0.01)
            self._answer(lease)
            self.counts["late"] += 1

    def _answer(self, lease: Lease) -> None:
        kind = self.dice.choice(("regular", "regular", "regular", "regular", "green_filter", "cannot_tell"))
        submit_read(task=lease.task, reader=self.reader, answer=Answer(kind))
        self.told[lease.task_id] = kind
        self.counts["answers"] += 1
        if self.dice.random() < 0.08:
            undo(task=lease.task, reader=self.reader)
            del self.told[lease.task_id]
            self.counts["undone"] += 1


def _finish(people: list[User], told: dict[int, Told]) -> None:
    """What was skipped or left is read one after another, each lease that nobody minds having run out."""
    Lease.objects.filter(ended=None).update(until=Now())
    for _ in range(4):
        for reader in people:
            while lease := lease_next(reader=reader):
                submit_read(task=lease.task, reader=reader, answer=Answer("regular"))
                told.setdefault(reader.pk, {})[lease.task_id] = "regular"


def _judge(result: Result, told: dict[int, Told]) -> None:
    standing = {(read.task_id, read.reader_id): read.kind for read in Read.objects.filter(current=True, role="reader")}
    said = {(task, reader): kind for reader, answers in told.items() for task, kind in answers.items()}
    result.lost = sum(standing.get(place) != kind for place, kind in said.items())
    result.doubled = len(standing.keys() - said.keys())
    result.closed_short = len(looks.closed_short())
    result.not_closed = ReviewTask.objects.filter(state="open").count()
    result.over_assigned += len(looks.over_assigned())
    result.wrong += looks.wrong()
