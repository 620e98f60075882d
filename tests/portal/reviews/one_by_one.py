"""How far two readers agree, one measure at a time: `portal.reviews.agreement`, which computes all drawings at once, is checked by this.

Each returns None where it cannot be said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Pair = tuple[str, str]


def raw(pairs: Sequence[Pair]) -> float | None:
    """Share of the images on which both gave the same answer."""
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def cohen_kappa(pairs: Sequence[Pair]) -> float | None:
    """(observed - chance) / (1 - chance), chance from each reader's own shares (Cohen 1960)."""
    if not pairs:
        return None
    first, second = (Counter(side) for side in zip(*pairs, strict=True))
    chance = sum(first[kind] * second[kind] for kind in first) / len(pairs) ** 2
    return _beyond(pairs, chance)


def gwet_ac1(pairs: Sequence[Pair]) -> float | None:
    """As kappa, with chance = sum of pi(1 - pi) / (kinds - 1), pi the mean share of each
    kind that occurs (Gwet 2008): steady where one kind is rare."""
    both = Counter(answer for pair in pairs for answer in pair)
    if len(both) < 2:
        return 1.0 if both else None
    shares = [count / (2 * len(pairs)) for count in both.values()]
    return _beyond(pairs, sum(share * (1 - share) for share in shares) / (len(both) - 1))


def _beyond(pairs: Sequence[Pair], chance: float) -> float | None:
    observed = sum(a == b for a, b in pairs) / len(pairs)
    return None if chance >= 1.0 else (observed - chance) / (1.0 - chance)


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """1 - observed / expected disagreement for nominal answers (Krippendorff 2011): any number of readers, with gaps.

    units: the answers given for each image. Images with one answer or none say nothing; None when no image has two, and when all answers
    are one kind: they would agree by chance as well.
    """
    paired = [Counter(answers) for answers in units if len(answers) > 1]
    shares = sum(paired, Counter())
    total = shares.total()
    if total == 0:
        return None
    # An image's m answers make m (m - 1) ordered pairs, each counting 1 / (m - 1)
    apart = sum((m * m - sum(count**2 for count in one.values())) / (m - 1) for one in paired if (m := one.total()))
    chance = (total**2 - sum(count**2 for count in shares.values())) / (total - 1)
    return None if chance == 0 else 1.0 - apart / chance
