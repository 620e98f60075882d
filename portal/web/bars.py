"""Counts by week as bars, and how long things took as lines: coordinates for SVGs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.web.drawings import BOTTOM, LEFT, RIGHT, ROW, TOP, WIDTH, Dot, Row, Rows

HEIGHT, STEP, BAR, EDGE, FOOT = 150.0, 62.0, 13.0, 40.0, 22.0
_TICKS = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """`place`: which series, from 0."""

    x: float
    y: float
    width: float
    height: float
    place: int
    said: str


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    x: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Bars:
    title: str
    series: tuple[str, ...]
    width: float
    height: float
    left: float
    base: float
    ticks: tuple[tuple[str, float], ...]
    groups: tuple[Group, ...]


def bars(title: str, series: Sequence[str], groups: Sequence[tuple[str, Sequence[int]]]) -> Bars:
    """A group of bars for each (label, one count a series); y grows downwards."""
    most = _round_up(max((count for _, counts in groups for count in counts), default=0))
    base = TOP + HEIGHT
    return Bars(
        title=title, series=tuple(series), width=EDGE + STEP * len(groups) + 10, height=base + FOOT, left=EDGE, base=base,
        ticks=tuple((f"{most * n // _TICKS:,}", base - HEIGHT * n / _TICKS) for n in range(_TICKS + 1)),
        groups=tuple(_group(label, series, counts, at, most) for at, (label, counts) in enumerate(groups)),
    )  # fmt: skip


def _group(label: str, series: Sequence[str], counts: Sequence[int], at: int, most: int) -> Group:
    middle = EDGE + STEP * (at + 0.5)
    left, heights = middle - BAR * len(counts) / 2, [round(HEIGHT * count / most, 1) for count in counts]
    drawn = [
        Bar(round(left + BAR * place, 1), round(TOP + HEIGHT - high, 1), BAR - 2, high, place, f"{label}: {count:,} {name}")
        for place, (count, high, name) in enumerate(zip(counts, heights, series, strict=True))
    ]
    return Group(label, middle, tuple(drawn))


def _round_up(most: int) -> int:
    """To a number that four ticks divide."""
    step = 1
    while step * _TICKS < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step * _TICKS


@dataclass(frozen=True, slots=True)
class Span:
    """From `middle` to `far`, in days."""

    name: str
    middle: float
    far: float
    said: str


def spans(title: str, found: Sequence[Span]) -> Rows:
    """A row each: a dot at the middle, a line to the far end."""
    most = _round_up(int(max((span.far for span in found), default=0)) + 1)
    base = TOP + ROW * len(found)
    return Rows(
        title=title, width=LEFT + WIDTH + RIGHT, height=base + BOTTOM, base=base, label_x=LEFT - 10, short_x=LEFT + WIDTH + 8,
        ticks=tuple((f"{most * n // _TICKS} d", LEFT + WIDTH * n / _TICKS) for n in range(_TICKS + 1)),
        rows=tuple(
            Row(span.name, "", False, TOP + ROW * (place + 0.5), _dot(span, most), None) for place, span in enumerate(found)
        ),
    )  # fmt: skip


def _dot(span: Span, most: int) -> Dot:
    middle, far = (round(LEFT + WIDTH * days / most, 1) for days in (span.middle, span.far))
    return Dot(middle, middle, far, span.said, f"{span.middle:.1f} to {span.far:.1f} d")
