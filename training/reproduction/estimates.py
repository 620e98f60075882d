"""A figure with both of its intervals, and tables of such, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import by_patient, wilson
from training.types import Interval

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure with both intervals. `wilson`: images taken as independent; None for F1, AUROC and overlap, which are no proportions."""

    value: float
    wilson: Interval | None
    low: float
    high: float
    total: int
    patients: int

    def __str__(self) -> str:
        if self.total == 0 or not np.isfinite(self.value):
            return "–"
        counted = f"{self.wilson.hits}/{self.wilson.total}" if self.wilson else f"{self.total} images"
        wide = f" [{self.wilson.low:.3f}, {self.wilson.high:.3f}]" if self.wilson else ""
        return f"{self.value:.3f}{wide}, by patient [{self.low:.3f}, {self.high:.3f}] ({counted}, {self.patients} patients)"


NOTHING = Estimate(float("nan"), None, 0.0, 1.0, 0, 0)
ESTIMATE = (
    "preset", "figure", "value", "wilson_low", "wilson_high", "by_patient_low", "by_patient_high", "hits", "total", "patients",
)  # fmt: skip
"""Columns of an estimate for machines, after the name of what was measured."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table for people (`headers`, `rows`) and the same numbers one a line for machines (`csv_headers`, `csv_rows`)."""

    number: str
    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    csv_headers: Sequence[str] = ()
    csv_rows: Sequence[Sequence[object]] = ()

    def for_machines(self) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        return (self.csv_headers, self.csv_rows) if self.csv_headers else (self.headers, self.rows)


def numbers(figure: Estimate) -> list[object]:
    """The columns of ESTIMATE from `value` on; empty where there is no such number."""
    if figure.total == 0:
        return ["", "", "", "", "", 0, 0, 0]
    w = figure.wilson
    bounds = (w.low, w.high) if w else ("", "")
    return [figure.value, *bounds, figure.low, figure.high, w.hits if w else "", figure.total, figure.patients]


def share(hit: Bools, of: Bools, patients: Sequence[Hashable], rounds: int) -> Estimate:
    """The share of `hit` (N,) among those counted by `of` (N,), of which `patients` (N,) are; NOTHING where none is counted."""
    if not of.any():
        return NOTHING
    hits, total = int((hit & of).sum()), int(of.sum())
    own = {patient for patient, counts in zip(patients, of, strict=True) if counts}
    counted = wilson(hits, total, len(own))

    def drawn(rows: NDArray[np.int64]) -> float:
        below = of[rows].sum()
        return float((hit[rows] & of[rows]).sum() / below) if below else float("nan")

    low, high = by_patient(drawn, patients, rounds=rounds)
    return Estimate(counted.value, counted, low, high, total, len(own))


def bootstrapped(figure: Callable[[NDArray[np.int64]], float], patients: Sequence[Hashable], rounds: int) -> Estimate:
    """A figure over rows of N images, of which `patients` (N,) are; NOTHING where there are none."""
    if not patients:
        return NOTHING
    low, high = by_patient(figure, patients, rounds=rounds)
    return Estimate(figure(np.arange(len(patients))), None, low, high, len(patients), len(set(patients)))
