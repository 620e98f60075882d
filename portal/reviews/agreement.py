"""How far two readers agree. Pure; each returns None where it cannot be said."""

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
