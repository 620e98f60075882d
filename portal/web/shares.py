"""Shares with their 95 % intervals. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `total`; value and interval are None where there is nothing to count over."""

    hits: int
    total: int
    value: float | None
    low: float | None
    high: float | None


def wilson(hits: int, total: int) -> Share:
    """Wilson's score interval (1927): keeps within 0 and 1, also for few and for rare."""
    if total <= 0:
        return Share(hits, total, None, None, None)
    p, z2 = hits / total, _Z * _Z
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(p * (1 - p) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return Share(hits, total, p, max(0.0, middle - half), min(1.0, middle + half))
