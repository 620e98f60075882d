"""What two models differ by, as rows for a page. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portal.ml import Compared

LESS_IS_BETTER = ("missed unseen", "sent to review")


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of both models and what lies between; `said`: what the interval tells, `badge`: how that is to be shown."""

    name: str
    champion: str
    mine: str
    difference: str
    interval: str
    images: int
    patients: int
    said: str
    badge: str


def rows(compared: Sequence[Compared]) -> list[Difference]:
    return [_row(one) for one in compared]


def _row(one: Compared) -> Difference:
    counts = one.images, one.patients
    if not one.known:
        return Difference(one.name, _three(one.one), _three(one.other), "–", "", *counts, "cannot be told", "")
    interval = f"{one.low:+.3f} to {one.high:+.3f}" if one.sure else ""
    said = "" if one.sure else "all patients are alike, or there is one"
    badge = ""
    if one.differs:
        better = (one.difference > 0) != (one.name in LESS_IS_BETTER)
        said, badge = ("better", "verdict-pass") if better else ("worse", "verdict-fail")
    elif one.sure:
        said = "cannot be told apart"
    return Difference(one.name, _three(one.one), _three(one.other), f"{one.difference:+.3f}", interval, *counts, said, badge)


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
