"""Scores by site and kind as a box plot (Fig. 4 of the paper): coordinates for an SVG. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEFT, RIGHT, TOP, BOTTOM, STEP, HEIGHT = 44.0, 12.0, 12.0, 62.0, 58.0, 220.0
HALF = 15.0


@dataclass(frozen=True, slots=True)
class Box:
    """One group. All lengths in the SVG's units; y grows downwards."""

    site: str
    kind: str
    count: int
    median: float
    x: float
    left: float
    right: float
    width: float
    y_low: float
    y_q1: float
    y_median: float
    y_q3: float
    y_high: float
    body: float
    outliers: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    width: float
    height: float
    axis_left: float
    axis_right: float
    base: float
    ticks: tuple[tuple[str, float], ...]
    thresholds: tuple[tuple[str, float], ...]
    boxes: tuple[Box, ...]

    @property
    def labels(self) -> tuple[float, float, float]:
        return (self.base + 16, self.base + 32, self.base + 48)


def layout(groups: Sequence[Mapping[str, Any]], thresholds: Mapping[str, float]) -> Plot:
    """A box for each group of {site, kind, scores}; scores are probabilities in [0, 1]."""
    width = LEFT + STEP * max(1, len(groups)) + RIGHT
    return Plot(
        width=width,
        height=TOP + HEIGHT + BOTTOM,
        axis_left=LEFT,
        axis_right=width - RIGHT,
        base=TOP + HEIGHT,
        ticks=tuple((f"{n / 5:.1f}", _y(n / 5)) for n in range(6)),
        thresholds=tuple((name, _y(value)) for name, value in sorted(thresholds.items()) if value is not None and 0 <= value <= 1),
        boxes=tuple(_box(group, LEFT + STEP * (place + 0.5)) for place, group in enumerate(groups)),
    )


def _y(value: float) -> float:
    return round(TOP + HEIGHT * (1 - value), 1)


def _box(group: Mapping[str, Any], x: float) -> Box:
    scores = group["scores"]
    q1, q3 = _y(scores["q1"]), _y(scores["q3"])
    return Box(
        site=group["site"], kind=group["kind"], count=scores["count"], median=scores["median"], x=x, left=x - HALF, right=x + HALF,
        width=2 * HALF, y_low=_y(scores["low"]), y_q1=q1, y_median=_y(scores["median"]), y_q3=q3, y_high=_y(scores["high"]),
        body=max(1.0, q1 - q3), outliers=tuple(_y(value) for value in scores["outliers"]),
    )  # fmt: skip
