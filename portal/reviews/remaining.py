"""How much reading is left, in hours, and what that rests on. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

ENOUGH = 20
"""Of fewer answers no time is stated."""
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Pace:
    """Active seconds of an answer: `count` timed answers, their mean and standard deviation."""

    count: int
    mean: float
    deviation: float

    def bounds(self) -> tuple[float, float]:
        """The 95 % interval of the mean."""
        half = _Z * self.deviation / math.sqrt(self.count)
        return max(0.0, self.mean - half), self.mean + half


@dataclass(frozen=True, slots=True)
class Waiting:
    """`open_tasks` have `given` answers and miss `missing` by their rules so far; `adjudication` wait for an adjudicator. Of the `settled`
    so far there were `answers` answers, and `adjudicated` took an adjudicator."""

    open_tasks: int
    given: int
    missing: int
    adjudication: int
    settled: int
    answers: int
    adjudicated: int

    @property
    def reads_an_image(self) -> float | None:
        return self.answers / self.settled if self.settled >= ENOUGH else None


@dataclass(frozen=True, slots=True)
class Left:
    """Hours: the estimate; from no further disagreement at the quicker end of the pace, to as many as before at the slower end."""

    reads: float
    adjudications: float
    hours: float
    low: float
    high: float


def left(waiting: Waiting, reader: Pace | None, adjudicator: Pace | None) -> Left | None:
    """None where too few answers were timed. Adjudicators take as long as readers, as far as nothing is known of them."""
    if reader is None or reader.count < ENOUGH:
        return None
    by_adjudicator = adjudicator if adjudicator and adjudicator.count >= ENOUGH else reader
    often = waiting.adjudicated / waiting.settled if waiting.settled >= ENOUGH else 0.0
    reads = max(float(waiting.missing), waiting.open_tasks * (waiting.reads_an_image or 0.0) - waiting.given)
    adjudications = waiting.adjudication + often * waiting.open_tasks
    (quick, slow), (quick_a, slow_a) = reader.bounds(), by_adjudicator.bounds()
    return Left(
        reads=reads, adjudications=adjudications,
        hours=(reads * reader.mean + adjudications * by_adjudicator.mean) / 3600,
        low=(waiting.missing * quick + waiting.adjudication * quick_a) / 3600,
        high=(reads * slow + adjudications * slow_a) / 3600,
    )  # fmt: skip
