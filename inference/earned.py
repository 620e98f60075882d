"""How low a probability must be to pass unseen, earned by what people have read (METHODS 6). Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Earned:
    """What `positives` non-regular images, one a patient, allow.

    t_lo: what lies below may pass as regular; None: nothing may. missed: how many of the positives lie below it. needed: how many more are
    needed before anything may pass, 0 where something may; None: no number is enough.
    """

    t_lo: float | None
    positives: int
    missed: int
    needed: int | None


def earned(scores: Sequence[float], alpha: float, confidence: float) -> Earned:
    """The largest threshold of whose missed share the exact binomial upper bound (Clopper and Pearson 1934) is at most `alpha`.

    scores: p(non-regular), 0 to 1, of non-regular images, one a patient, none picked for being uncertain; missed is what lies below the
    threshold. alpha: tolerated share of misses, 0 to 1; 0 allows nothing. confidence: of the bound, above 0 and below 1. Raises ValueError.
    """
    if not 0 <= alpha < 1 or not 0 < confidence < 1:
        raise ValueError("The tolerated share lies from 0 to below 1, the confidence between 0 and 1.")
    allowed = _most_missed(len(scores), alpha, confidence)
    if allowed < 0:
        least = least_positives(alpha, confidence)
        return Earned(None, len(scores), 0, None if least is None else least - len(scores))
    t_lo = sorted(scores)[allowed]
    return Earned(t_lo, len(scores), sum(score < t_lo for score in scores), 0)


def least_positives(alpha: float, confidence: float) -> int | None:
    """The fewest positives, none of them missed, that show a missed share of at most `alpha`: 59 for 5 %, 149 for 2 %, 299 for 1 % at 95 %
    confidence. None: no number does."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - alpha) - 1e-9) if alpha else None


def _most_missed(positives: int, alpha: float, confidence: float) -> int:
    """The most misses of so many that still show it; -1 where not even none does.

    The upper bound for k misses is at most alpha exactly where k or fewer would come with a chance of at most 1 - confidence, were the
    share alpha.
    """
    chance, missed = 0.0, -1
    for k in range(positives if alpha else 0):
        ways = math.lgamma(positives + 1) - math.lgamma(k + 1) - math.lgamma(positives - k + 1)
        chance += math.exp(ways + k * math.log(alpha) + (positives - k) * math.log1p(-alpha))
        if chance > 1 - confidence + 1e-12:
            return missed
        missed = k
    return missed
