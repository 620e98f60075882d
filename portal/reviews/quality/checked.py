"""Of readers: how often they were right where it is known, what changed by month, and whether a model's opinion moves them. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from portal.ml import Interval
from portal.reviews.quality.reliability import share

ENOUGH = 10
"""Of fewer images nothing is said of a reader."""
ENOUGH_FOR_A_CHANGE = 30


@dataclass(frozen=True, slots=True)
class Checked:
    """One answer held against another word on its image. `patient`: None counts as a patient of its own. `month`: as 2026-11."""

    reader: int
    right: bool
    patient: int | None
    month: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """The newest month less all before: `value` with its 95 % interval. `sure`: the interval leaves out no change at all."""

    month: str
    value: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        return self.low > 0 or self.high < 0


def of(rows: Sequence[Checked]) -> Interval:
    """The share of `right`, with its interval by patients."""
    owners = {owner: at for at, owner in enumerate(dict.fromkeys(_owners(rows)))}
    patients = np.asarray([owners[owner] for owner in _owners(rows)], dtype=np.int64)
    return share(np.asarray([row.right for row in rows], dtype=bool), np.ones(len(rows)), patients)


def _owners(rows: Sequence[Checked]) -> list[object]:
    return [row.patient if row.patient is not None else (number,) for number, row in enumerate(rows)]


def by_reader(rows: Iterable[Checked]) -> dict[int, list[Checked]]:
    found: dict[int, list[Checked]] = {}
    for row in rows:
        found.setdefault(row.reader, []).append(row)
    return found


def by_month(rows: Sequence[Checked]) -> list[tuple[str, Interval]]:
    """The oldest month first."""
    return [(month, of([row for row in rows if row.month == month])) for month in sorted({row.month for row in rows})]


def change(rows: Sequence[Checked]) -> Change | None:
    """What the newest month that has enough images is against all before it; None where either has too few.

    The interval of a difference from those of its parts (Newcombe 1998, his tenth).
    """
    counts = Counter(row.month for row in rows)
    months = sorted(month for month, count in counts.items() if count >= ENOUGH_FOR_A_CHANGE)
    if not months:
        return None
    before, after = of([row for row in rows if row.month < months[-1]]), of([row for row in rows if row.month == months[-1]])
    if before.total < ENOUGH_FOR_A_CHANGE:
        return None
    value = after.value - before.value
    low = value - math.hypot(after.value - after.low, before.high - before.value)
    high = value + math.hypot(after.high - after.value, before.value - before.low)
    return Change(months[-1], value, low, high)


# ---- moved by the model -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Revealed:
    """An answer after which the model's opinion was shown. `after`: the amended answer, or the same. `others`: what others made of the
    image, None where nobody else has said anything, or they are not of one mind."""

    reader: int
    before: str
    after: str
    model: str
    others: str | None
    patient: int | None


@dataclass(frozen=True, slots=True)
class Switching:
    """Of the answers that differed from the model's: how many were amended towards it, how many away to a third; and of those amended
    towards it and about which others have spoken, how many rightly and wrongly. `kept_wrongly`: of those that stayed, how many should
    not have by the others' word. nan where there is none."""

    shown: int
    towards: Interval
    elsewhere: Interval
    rightly: Interval
    wrongly: Interval
    kept_wrongly: Interval


def switching(rows: Sequence[Revealed]) -> Switching:
    differed = [row for row in rows if row.before != row.model]
    towards = [row for row in differed if row.after == row.model and row.others]
    stayed = [row for row in differed if row.after == row.before and row.others]
    return Switching(
        shown=len(rows),
        towards=_share(differed, [row.after == row.model for row in differed]),
        elsewhere=_share(differed, [row.after not in (row.model, row.before) for row in differed]),
        rightly=_share(towards, [row.after == row.others for row in towards]),
        wrongly=_share(towards, [row.before == row.others for row in towards]),
        kept_wrongly=_share(stayed, [row.model == row.others for row in stayed]),
    )


def _share(rows: Sequence[Revealed], right: Sequence[bool]) -> Interval:
    return of([Checked(row.reader, one, row.patient) for row, one in zip(rows, right, strict=True)])
