"""Intervals as rows of dots, and reliability diagrams: coordinates for SVGs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from portal.core.text import counted
from portal.learning import gate
from portal.ml import Bin, Calibration, Compared, Interval, OperatingPoint

ALL = "all sites"
UNKNOWN = Interval(math.nan, math.nan, math.nan, 0, 0, 0)
"""A row without a dot."""
LEFT, WIDTH, RIGHT, ROW, TOP, BOTTOM = 196.0, 300.0, 104.0, 19.0, 8.0, 24.0
SIDE, MARGIN, EDGE = 180.0, 34.0, 10.0
REACHES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""How far a drawing of differences may reach to either side."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A figure and its interval, the wider one where it has two, on a row; `said` in full, `short` beside it."""

    x: float
    low: float
    high: float
    said: str
    short: str


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    kind: str
    head: bool
    y: float
    mine: Dot | None
    champion: Dot | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Intervals below one another, x from 0 to 1, or about `zero`."""

    title: str
    width: float
    height: float
    base: float
    ticks: tuple[tuple[str, float], ...]
    label_x: float
    short_x: float
    rows: tuple[Row, ...]
    zero: float | None = None


def operating(points: Sequence[OperatingPoint], champion: Sequence[OperatingPoint]) -> list[Rows]:
    """One drawing a specificity: what is found of the non-regular, of all sites and of each, by kind."""
    rivals = {(point.site, point.specificity): point for point in champion}
    return [
        _rows(
            f"{wanted:.0%} specificity",
            [row for point in points if point.specificity == wanted for row in _of_point(point, rivals.get((point.site, wanted)))],
        )
        for wanted in sorted({point.specificity for point in points})
    ]


Figures = tuple[str, str, bool, Interval, Interval | None]


def _of_point(point: OperatingPoint, rival: OperatingPoint | None) -> Iterator[Figures]:
    yield point.site or ALL, "", True, point.sensitivity, rival.sensitivity if rival else None
    for kind, found in sorted(point.per_kind.items()):
        yield kind.replace("_", " "), kind, False, found, rival.per_kind.get(kind) if rival else None


def _rows(title: str, figures: Sequence[Figures]) -> Rows:
    base = TOP + ROW * len(figures)
    return Rows(
        title=title, width=LEFT + WIDTH + RIGHT, height=base + BOTTOM, base=base, label_x=LEFT - 10, short_x=LEFT + WIDTH + 8,
        ticks=tuple((f"{n / 5:.1f}", _across(n / 5)) for n in range(6)),
        rows=tuple(
            Row(label, kind, head, TOP + ROW * (place + 0.5), _dot(mine), _dot(rival))
            for place, (label, kind, head, mine, rival) in enumerate(figures)
        ),
    )  # fmt: skip


def forest(title: str, figures: Sequence[tuple[str, bool, Interval]]) -> Rows:
    """One drawing of named figures, each from 0 to 1; the flag marks what stands for all."""
    return _rows(title, [(label, "", head, figure, None) for label, head, figure in figures])


def differences(title: str, compared: Sequence[Compared]) -> Rows | None:
    """One drawing of differences about zero; None where none of them can be said. `head` marks what leaves zero out."""
    known = [one for one in compared if one.known]
    if not known:
        return None
    most = max(abs(end) for one in known for end in ((one.low, one.high) if one.sure else (one.difference,)))
    reach, base = next(wide for wide in REACHES if wide >= most or wide == REACHES[-1]), TOP + ROW * len(known)
    return Rows(
        title=title, width=LEFT + WIDTH + RIGHT, height=base + BOTTOM, base=base, label_x=LEFT - 10, short_x=LEFT + WIDTH + 8,
        ticks=tuple((f"{n * reach / 2:+g}" if n else "0", _aside(n * reach / 2, reach)) for n in range(-2, 3)), zero=_aside(0.0, reach),
        rows=tuple(
            Row(one.name, "", one.differs, TOP + ROW * (place + 0.5), _off(one, reach), None) for place, one in enumerate(known)
        ),
    )  # fmt: skip


def _aside(difference: float, reach: float) -> float:
    return _across(0.5 + difference / (2 * reach))


def _off(one: Compared, reach: float) -> Dot:
    low, high = (one.low, one.high) if one.sure else (one.difference, one.difference)
    return Dot(_aside(one.difference, reach), _aside(low, reach), _aside(high, reach), gate.difference(one), f"{one.difference:+.3f}")


def as_table(drawings: Sequence[Rows]) -> list[tuple[str, bool, list[str]]]:
    """(label, whether it begins a site, what each drawing says): the same rows in words. All drawings are of the same groups."""
    return [
        (row.label, row.head, [other.mine.said if other.mine else "–" for other in across])
        for across in zip(*(drawing.rows for drawing in drawings), strict=True)
        for row in across[:1]
    ]


def _across(value: float) -> float:
    return round(LEFT + WIDTH * min(max(value, 0.0), 1.0), 1)


def _dot(figure: Interval | None) -> Dot | None:
    if figure is None or not gate.known(figure):
        return None
    short = f"{figure.value:.2f} ({figure.hits}/{figure.total})"
    low, high = (figure.least, figure.most) if figure.sure else (figure.value, figure.value)
    return Dot(_across(figure.value), _across(low), _across(high), gate.said(figure), short)


@dataclass(frozen=True, slots=True)
class Mark:
    """A bin: where its mean score and its share meet, and the ends of the share's interval."""

    x: float
    y: float
    y_low: float
    y_high: float
    said: str


@dataclass(frozen=True, slots=True)
class Reliability:
    """A square with (0, 0) at the lower left; on the diagonal a score means what it says."""

    site: str
    error: float
    limit: float
    good: bool
    images: int
    patients: int
    positives: int
    side: float
    low: float
    high: float
    line: str
    marks: tuple[Mark, ...]


def reliability(calibrations: Sequence[Calibration]) -> list[Reliability]:
    """A square for all sites together and for each; only the first where there is one site."""
    shown = calibrations[:1] if len(calibrations) == 2 else calibrations
    return [_square(one) for one in shown]


def _square(one: Calibration) -> Reliability:
    marks = tuple(_mark(bin_) for bin_ in one.bins)
    return Reliability(
        site=one.site or ALL, error=one.error, limit=one.limit, good=one.error <= one.limit, images=one.images, patients=one.patients,
        positives=one.positives, side=MARGIN + SIDE + EDGE, low=MARGIN, high=MARGIN + SIDE,
        line=" ".join(f"{mark.x},{mark.y}" for mark in marks), marks=marks,
    )  # fmt: skip


def _mark(one: Bin) -> Mark:
    said = f"mean score {one.score:.3f}: {one.share:.3f} [{one.low:.3f}, {one.high:.3f}] non-regular of {counted(one.images, 'image')}"
    return Mark(round(MARGIN + SIDE * one.score, 1), _up(one.share), _up(one.low), _up(one.high), said)


def _up(value: float) -> float:
    return round(EDGE + SIDE * (1 - value), 1)
