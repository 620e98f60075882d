"""Which of the questions that a reader may be given comes next (METHODS 6). Pure; `queue.py` says the same in SQL, and a test holds the
two together.

Within a site by `turn`: when a question was asked, and the surer of what it asks, the later; so nothing waits behind what came weeks
after it. Among sites in equal shares, however much each has sent. What readers have begun is mostly finished first. After an answer
come the exam's other questions, but never many in a row.

Near-equals come in an order drawn for this reader and this moment: readers do not meet at one row, and a sequence tells nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

SPAN = timedelta(days=14)
"""What is most in doubt comes before what is least in doubt, if that was asked less than so long before."""
NEAR = timedelta(hours=1)
"""Questions whose turns are no further apart count as equal."""
WINDOW = 8
"""Among so many equals at most one is drawn."""
LOOK_BACK = 16
"""So many of what the reader was given last decide on what they are given next."""
IN_A_ROW = 8
"""After as many pictures of one exam another comes."""
EVEN = 4
"""A site that has had so many more of the last LOOK_BACK than another waits."""
BEGUN = 192
"""Of 256 draws so many look first at what other readers have begun."""
ALIKE_STEP = 0.01
"""Each open question about an image of the same site and look puts a new one back by so much priority, about three and a half hours."""
MOST_ALIKE = 25
"""No more than so many put it back: what is in doubt must not drown in a large batch."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question that the reader may be given. `readers`: who has answered it, in order of their numbers; none: it is fresh."""

    id: int
    site: int
    turn: float
    exam: int | None = None
    readers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What the reader was given before. `lease`: its number."""

    lease: int
    task: int
    site: int
    exam: int | None


def turn(asked: float, priority: float) -> float:
    """Seconds; the database computes the same (`ReviewTask.turn`)."""
    return asked - priority * SPAN.total_seconds()


def soon(doubt: float, alike: int) -> float:
    """Priority of a question in 0..1: how much is in doubt, less what `alike` open questions ask already. So near-equals in doubt come by
    turns of looks, and a reader's evening is not one device's hundred twins (METHODS 6)."""
    return max(0.0, doubt - ALIKE_STEP * min(alike, MOST_ALIKE))


def draw(seed: str, given: Sequence[Given], what: str, number: int) -> bytes:
    """Thrown anew for everything that a reader is given; the same for the same reader at the same place."""
    last = max((one.lease for one in given), default=0)
    return sha256(f"{seed}:{last}:{what}:{number}".encode()).digest()


def following(waiting: Collection[Waiting], given: Sequence[Given], seed: str) -> Waiting | None:
    """The next question. `given`: the last LOOK_BACK, the newest first."""
    same = _of_the_exam(waiting, given, seed)
    if same is not None:
        return same
    begun, fresh = _begun(waiting), _by_site([one for one in waiting if not one.readers], given, seed)
    parts = [begun, fresh] if draw(seed, given, "begun", 0)[0] < BEGUN else [fresh, begun]
    groups = [group for part in parts for group in part]
    return among(groups[0], given, seed) if groups else None


def among(group: Collection[Waiting], given: Sequence[Given], seed: str) -> Waiting:
    """One of the first of a group, drawn; what the reader has had just now comes last."""
    window = sorted(group, key=lambda one: (one.turn, one.id))[:WINDOW]
    near = [one for one in window if one.turn <= window[0].turn + NEAR.total_seconds()]
    had = {one.task for one in given}
    return min(near, key=lambda one: (one.id in had, draw(seed, given, "task", one.id)))


def sites(waiting: Mapping[int, object], given: Sequence[Given], seed: str) -> list[int]:
    """The sites in the order in which they are asked for a question."""
    had = [one.site for one in given]
    return sorted(waiting, key=lambda site: (had.count(site) // EVEN, draw(seed, given, "site", site)))


def _of_the_exam(waiting: Collection[Waiting], given: Sequence[Given], seed: str) -> Waiting | None:
    if not given or given[0].exam is None or [one.exam for one in given[:IN_A_ROW]] == [given[0].exam] * IN_A_ROW:
        return None
    had = {one.task for one in given}
    same = [one for one in waiting if one.exam == given[0].exam and one.id not in had]
    return min(same, key=lambda one: (one.turn // NEAR.total_seconds(), draw(seed, given, "task", one.id)), default=None)


def _begun(waiting: Collection[Waiting]) -> list[list[Waiting]]:
    """By who has answered, the group with the earliest turn first."""
    groups: dict[tuple[int, ...], list[Waiting]] = {}
    for one in waiting:
        if one.readers:
            groups.setdefault(one.readers, []).append(one)
    return sorted(groups.values(), key=lambda group: (min(one.turn for one in group), group[0].readers))


def _by_site(fresh: Collection[Waiting], given: Sequence[Given], seed: str) -> list[list[Waiting]]:
    by_site: dict[int, list[Waiting]] = {}
    for one in fresh:
        by_site.setdefault(one.site, []).append(one)
    return [by_site[site] for site in sites(by_site, given, seed)]
