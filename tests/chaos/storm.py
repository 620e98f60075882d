"""The storm: real senders, real workers, real servers; kills spread over the work; then the count of what was lost and doubled."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from django.db import connections

from inference.context import Context, Weights
from portal.accounts.models import Role, Site, User
from portal.audit import services as audit
from portal.images.models import Upload
from portal.images.services import apply_table
from portal.pipeline.invariants import HARMLESS, violations
from tests import servers
from tests.cast import make_user, make_version
from tests.chaos.groups import Group, beat, workers

LEASE_SECONDS = 3
IMAGES_AN_EXAM = 5
HELD_BACK = 0.08
"""Share of the items that is sent only when every blow has fallen: work that ends in one large batch cannot end the storm before."""
COMPARE = Context(Weights((0.0, 1.0, 0.5, *[-2.0] * 6), (0.0, 1.0, 0.5, *[2.0] * 6)), {})
"""Late images turn answers round: questions come and go, labels follow."""


@dataclass(frozen=True)
class Plan:
    items: int
    kills: int
    sender_kills: int = 0
    redis_losses: int = 0
    postgres_crashes: int = 0
    web_kills: int = 0
    """Only where files come over the line (`tests.chaos.line`)."""
    senders: int = 2
    faults: str = ""
    patience: float = 600
    """Seconds without progress after which the storm is given up."""


@dataclass
class Outcome:
    items: int = 0
    lost: int = 0
    doubled: int = 0
    kills: int = 0
    kills_that_hit_work: int = 0
    items_in_hand_at_a_kill: int = 0
    senders_killed: int = 0
    web_kills: int = 0
    redis_losses: int = 0
    postgres_crashes: int = 0
    jobs_claimed_again: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    """Kind, deaths and reason of each job that failed."""
    worker_starts: int = 0
    seconds: float = 0
    seconds_to_the_last_after_the_last_blow: float = 0
    longest_wait_for_the_sweep: float = 0
    """Seconds that a dead worker's claim stood expired, as far as was seen."""
    broken_invariants: dict[str, Any] = field(default_factory=dict)
    harmless: dict[str, int] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        for name, value in asdict(self).items():
            yield f"{name.replace('_', ' '):<42} {value if not isinstance(value, float) else round(value, 1)}"


class Storm:
    def __init__(self, plan: Plan, folder: Path, *, seed: int = 7, say: Callable[[str], None] = lambda line: None) -> None:
        self.plan, self.folder, self.say = plan, folder, say
        self.random = random.Random(seed)
        self.outcome = Outcome(items=plan.items)
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            **os.environ, "WINNOW_JOB_LEASE_SECONDS": str(LEASE_SECONDS), "WINNOW_FAULTS": plan.faults,
            "DJANGO_SETTINGS_MODULE": "portal.settings", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.workers = workers(folder, self.env)
        self.beat = beat(folder, self.env)
        self.blows = self._blows()
        self.senders = self._senders()
        """The last sends what is held back, and starts when all is over."""

    # ---- the course -----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        began = time.monotonic()
        with self._everything_running():
            last_blow = began
            for progress in self._until_done():
                while self.blows and self.blows[0][0] <= progress:
                    _, strike = self.blows.pop(0)
                    strike()
                    last_blow = time.monotonic()
                if self._is_over() and not self.senders[-1].starts:
                    self.senders[-1].start()
            self.outcome.seconds = time.monotonic() - began
            self.outcome.seconds_to_the_last_after_the_last_blow = time.monotonic() - last_blow
        self._count()
        return self.outcome

    def _is_over(self) -> bool:
        return not self.blows

    def _until_done(self) -> Iterator[float]:
        """The share of all items that has gone all the way, until that is all of them and nothing is in work."""
        done, changed = -1, time.monotonic()
        while True:
            for group in (*self.workers, self.beat, *self.senders):
                group.keep_up()
            now = self._one("SELECT count(*) FROM images_image WHERE state IN ('accepted', 'in_review', 'failed')")
            live = self._one("SELECT count(*) FROM jobs_job WHERE state IN ('queued', 'claimed')")
            expired = self._one("SELECT extract(epoch FROM max(now() - lease_until)) FROM jobs_job WHERE state = 'claimed'")
            self.outcome.longest_wait_for_the_sweep = max(self.outcome.longest_wait_for_the_sweep, expired or 0)
            if now is not None and now != done:
                done, changed = now, time.monotonic()
                self.say(f"{done} of {self.plan.items} done, {live} in work, {self.outcome.kills} kills")
            if all(sender.finished for sender in self.senders) and live == 0:
                return
            if time.monotonic() - changed > self.plan.patience:
                self.say(f"no progress for {self.plan.patience:.0f} s: given up")
                return
            yield max(done, 0) / self.plan.items
            time.sleep(0.2)

    @contextmanager
    def _everything_running(self) -> Iterator[None]:
        everything = (*self.workers, self.beat, *self.senders)
        try:
            for group in everything[:-1]:
                group.start()
            yield
        finally:
            for group in everything:
                group.kill()
        self.outcome.worker_starts = sum(group.starts for group in self.workers)

    def _senders(self) -> list[Group]:
        site = Site.objects.create(name="Storm", slug="storm")
        actor = make_user("storm", (Role.UPLOADER, site))
        version = make_version("champion", context=COMPARE.as_json(), fusion={"t_lo": 0.3, "t_hi": 0.7})
        audit.record(actor_id=None, action="version.registered", subject=version)
        return [self._sender(n, site, actor, first, last) for n, (first, last) in enumerate(self._shares())]

    def _shares(self) -> list[tuple[int, int]]:
        """First item of each sender and the first that is not its own any more; the last share is held back."""
        early = self.plan.items - max(1, round(HELD_BACK * self.plan.items))
        bounds = [early * n // self.plan.senders for n in range(self.plan.senders + 1)]
        return list(pairwise([*bounds, self.plan.items]))

    def _sender(self, number: int, site: Site, actor: User, first: int, last: int) -> Group:
        upload = Upload.objects.create(site=site, created_by=actor, expected=last - first)
        audit.record(actor_id=actor.pk, action="upload.opened", subject=upload, site_id=site.pk)
        rows = "".join(f"{n}.jpg,P{n // IMAGES_AN_EXAM},visit\n" for n in range(first, last))
        apply_table(upload=upload, table_bytes=f"file,patient,exam\n{rows}".encode(), actor=actor)
        argv = [sys.executable, "-m", "tests.chaos.producer", str(upload.pk), str(actor.pk), str(first), str(last)]
        return Group(f"sender{number}", [*argv, str(self._acks(number))], self.env, self.folder / f"sender{number}.log", finite=True)

    def _acks(self, number: int) -> Path:
        return self.folder / f"acks{number}.txt"

    # ---- the blows ------------------------------------------------------------------------------------------------------

    def _blows(self) -> list[tuple[float, Callable[[], None]]]:
        """(share of the work done, what then happens), spread evenly with some chance between 2 and 90 %, before what is held back."""
        plan = self.plan
        counts = [(self._kill, plan.kills), (self._redis, plan.redis_losses), (self._postgres, plan.postgres_crashes)]
        blows = [(0.02 + 0.88 * (n + self.random.random()) / count, strike) for strike, count in counts for n in range(count)]
        # senders are done long before the workers
        blows += [(0.4 * n / plan.sender_kills, self._kill_sender) for n in range(plan.sender_kills)]
        return sorted(blows, key=lambda blow: blow[0])

    def _kill(self) -> None:
        """kill -9 of a whole worker group; preferably one that has work in hand, as far as can be seen."""
        holders = self._holders()
        group = self.random.choice([group for group in self.workers if holders.get(group.name)] or self.workers)
        group.kill()
        in_hand = holders.get(group.name, 0)
        self.outcome.kills += 1
        self.outcome.kills_that_hit_work += in_hand > 0
        self.outcome.items_in_hand_at_a_kill += in_hand
        group.start()

    def _holders(self) -> dict[str, int]:
        """How many rows each live group holds."""
        held: dict[str, int] = {}
        rows = self._all("SELECT split_part(worker, ':', 2)::int, count(*) FROM jobs_job WHERE state = 'claimed' GROUP BY 1")
        for pid, count in rows:
            for group in self.workers:
                if group.holds(pid):
                    held[group.name] = held.get(group.name, 0) + count
        return held

    def _kill_sender(self) -> None:
        going = [sender for sender in self.senders if not sender.finished and sender.process and sender.process.poll() is None]
        if going:
            self.random.choice(going).kill()
            self.outcome.senders_killed += 1

    def _redis(self) -> None:
        servers.redis.kill()
        time.sleep(0.5)
        servers.redis.start()
        self.outcome.redis_losses += 1

    def _postgres(self) -> None:
        servers.postgres.kill()
        time.sleep(0.5)
        servers.postgres.start()
        self.outcome.postgres_crashes += 1

    # ---- the count ------------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        acknowledged = self._acknowledged()
        finished = {row[0] for row in self._all("SELECT sha256 FROM images_image WHERE state IN ('accepted', 'in_review')")}
        self.outcome.lost = len(acknowledged - finished) + (self.plan.items - len(acknowledged))
        self.outcome.doubled = sum(self._one(f"SELECT count(*) FROM ({query}) AS x") or 0 for query in DOUBLED.values())
        self.outcome.failed = self._one("SELECT count(*) FROM jobs_job WHERE state = 'failed'") or 0
        failures = self._all("SELECT kind, deaths, error FROM jobs_job WHERE state = 'failed' LIMIT 20")
        self.outcome.failures = [f"{kind} after {deaths} deaths: {error[:80]}" for kind, deaths, error in failures]
        self.outcome.jobs_claimed_again = self._one("SELECT count(*) FROM jobs_job WHERE attempt > 1") or 0
        connections.close_all()  # Postgres may have crashed since
        found = violations()
        self.outcome.broken_invariants = {name: rows for name, rows in found.items() if name not in HARMLESS}
        self.outcome.harmless = {name: len(rows) for name, rows in found.items() if name in HARMLESS}

    def _acknowledged(self) -> set[str]:
        files = [self._acks(n) for n in range(len(self.senders))]
        return {line for file in files if file.exists() for line in file.read_text().split()}

    def _all(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(servers.postgres.url(), connect_timeout=5) as db:
                return db.execute(query.encode()).fetchall()
        except psycopg.OperationalError:
            return []

    def _one(self, query: str) -> int | None:
        rows = self._all(query)
        return int(rows[0][0]) if rows and rows[0][0] is not None else None


DOUBLED = {
    "cleaned": "SELECT subject_id FROM audit_auditevent WHERE action = 'image.cleaned' GROUP BY 1 HAVING count(*) > 1",
    "analysed": "SELECT subject_id FROM audit_auditevent WHERE action = 'image.analysed' GROUP BY 1 HAVING count(*) > 1",
    "analyses": "SELECT image_id FROM analyses_analysis GROUP BY 1 HAVING count(*) > 1",
    "assessments": "SELECT image_id, siblings FROM analyses_assessment GROUP BY 1, 2 HAVING count(*) > 1",
    "labels": "SELECT basis ->> 'assessment' FROM labels_label GROUP BY 1 HAVING count(*) > 1",
    "tasks": "SELECT image_id FROM reviews_reviewtask WHERE state = 'open' GROUP BY 1 HAVING count(*) > 1",
    "work done": "SELECT kind, subject_id FROM jobs_job WHERE state = 'done' AND kind IN ('sanitise', 'compare', 'analyse')"
    " GROUP BY 1, 2 HAVING count(*) > 1",
    "images": "SELECT sha256 FROM images_image GROUP BY 1 HAVING count(*) > 1",
}
"""Everything of which one item may leave one trace, whatever happened to its workers; of comparisons, one for each set of siblings.
Walks over the chain and the stores are work that comes again."""
