"""Agreement with intervals: two readers' answers as tables of counts, patients drawn with replacement. Pure.

Cohen 1960; Gwet 2008 (chance from the mean shares of the kinds that occur: steady where one kind is rare); Krippendorff 2011 for nominal
answers. Computed for all drawings at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portal.ml import Interval

DRAWS = 400
MEASURES = {"raw": "same answer", "kappa": "Cohen's kappa", "ac1": "Gwet's AC1", "alpha": "Krippendorff's alpha"}
UNDEFINED = 0.05
"""The largest share of drawings that may say nothing of a measure whose interval is stated."""
_CHUNK = 50


@dataclass(frozen=True, slots=True)
class Paired:
    """The first two answers to one question, each reader on their own. `patient`: None counts as a patient of its own."""

    first: str
    second: str
    patient: int | None
    site: str = ""
    month: str = ""
    readers: tuple[str, str] = ("", "")


def estimates(pairs: Sequence[Paired], *, draws: int = DRAWS, seed: int = 7) -> dict[str, Interval]:
    """Each of MEASURES with its 95 % interval by bootstrap over patients; empty where there is no pair.

    `hits` is the number of equal answers. What cannot be said is nan: kappa and alpha where all gave the same answer, as chance would have
    them agree too; anything of one patient alone; and both ends of an interval where more than UNDEFINED of the drawings say nothing, as
    those with but one kind in them: to leave them out would be to look at the others alone.
    """
    if not pairs:
        return {}
    kinds = sorted({kind for pair in pairs for kind in (pair.first, pair.second)})
    tables = _tables(pairs, kinds)
    drawn = _drawn(tables, draws, seed)
    whole = _measures(tables.sum(axis=0, keepdims=True))
    same = sum(pair.first == pair.second for pair in pairs)
    return {
        name: _interval(whole[name], values, same, len(pairs), len(tables)) for name, values in _measures(drawn).items()
    }  # fmt: skip


def by_kind(pairs: Sequence[Paired], *, draws: int = DRAWS, seed: int = 7) -> dict[str, Interval]:
    """Of each kind: where one reader said it, how often the other did too (Cicchetti and Feinstein 1990: specific agreement).

    `hits` of `total`: images that both and that either called so. Intervals as of `estimates`: none where a kind is in too few patients.
    """
    if not pairs:
        return {}
    kinds = sorted({kind for pair in pairs for kind in (pair.first, pair.second)})
    tables = _tables(pairs, kinds)
    drawn, whole = _drawn(tables, draws, seed), tables.sum(axis=0, keepdims=True)
    found = {}
    for at, kind in enumerate(kinds):
        both, either = int(whole[0, at, at]), int(whole[0, at, :].sum() + whole[0, :, at].sum() - whole[0, at, at])
        patients = int(((tables[:, at, :].sum(axis=1) + tables[:, :, at].sum(axis=1)) > 0).sum())
        found[kind] = _interval(_specific(whole, at), _specific(drawn, at), both, either, patients)
    return found


def _tables(pairs: Sequence[Paired], kinds: Sequence[str]) -> NDArray[np.int64]:
    """(patients, kinds, kinds): how often the first said the one and the second the other."""
    place = {kind: at for at, kind in enumerate(kinds)}
    patients: dict[object, int] = {}
    owners = (pair.patient if pair.patient is not None else (number,) for number, pair in enumerate(pairs))
    rows = [patients.setdefault(owner, len(patients)) for owner in owners]
    tables = np.zeros((len(patients), len(kinds), len(kinds)), dtype=np.int64)
    np.add.at(tables, (rows, [place[pair.first] for pair in pairs], [place[pair.second] for pair in pairs]), 1)
    return tables


def _drawn(tables: NDArray[np.int64], draws: int, seed: int) -> NDArray[np.int64]:
    """(draws, kinds, kinds): the counts of so many samples of patients, with replacement. Patients whose counts are alike are drawn as one
    group: the same samples by chance, and in a large study a tenth of the time."""
    rng, patients = np.random.default_rng(seed), len(tables)
    alike, often = np.unique(tables.reshape(patients, -1), axis=0, return_counts=True)
    shares = often / patients
    parts = [rng.multinomial(patients, shares, size=min(_CHUNK, draws - first)) @ alike for first in range(0, draws, _CHUNK)]
    return np.concatenate(parts).reshape(draws, *tables.shape[1:])


def _measures(tables: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Each measure of each table (n, kinds, kinds)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        total = tables.sum(axis=(1, 2)).astype(float)
        same = np.trace(tables, axis1=1, axis2=2) / total
        rows, columns = tables.sum(axis=2), tables.sum(axis=1)
        said = rows + columns
        share = said / (2 * total[:, None])
        occurring = (said > 0).sum(axis=1)
        by_margins = (rows * columns).sum(axis=1) / total**2
        by_shares = np.where(occurring > 1, (share * (1 - share)).sum(axis=1) / np.maximum(occurring - 1, 1), 0.0)
        apart_by_chance = ((2 * total) ** 2 - (said**2).sum(axis=1)) / (2 * total - 1)
        alpha = np.where(apart_by_chance == 0, np.nan, 1 - 2 * total * (1 - same) / apart_by_chance)
        return {"raw": same, "kappa": _beyond(same, by_margins), "ac1": _beyond(same, by_shares), "alpha": alpha}


def _beyond(same: NDArray[np.float64], chance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(chance >= 1, np.nan, (same - chance) / (1 - chance))


def _specific(tables: NDArray[np.int64], at: int) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * tables[:, at, at] / (tables[:, at, :].sum(axis=1) + tables[:, :, at].sum(axis=1)), dtype=np.float64)


def _interval(value: NDArray[np.float64], drawn: NDArray[np.float64], hits: int, total: int, patients: int) -> Interval:
    known = drawn[~np.isnan(drawn)]
    if patients < 2 or not len(known):
        return Interval(math.nan, math.nan, math.nan, hits, total, patients)
    if len(known) < (1 - UNDEFINED) * len(drawn):
        return Interval(float(value[0]), math.nan, math.nan, hits, total, patients)
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(value[0]), float(low), float(high), hits, total, patients)
