"""How well each reader reads where nobody knows the truth: Dawid and Skene 1979, by their EM algorithm with Dirichlet priors. Pure.

Readers are taken to err independently of one another. Where hard pictures mislead all of them alike, all look better than they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from portal.ml import Interval, Kind
from portal.reviews.skill import CORRECT, KINDS, SURE, WEIGHT, Skill

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
DRAWS = 5_000
FEW_PATIENTS = 10
"""Of fewer it cannot be told how alike their images are: each then counts once."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Said:
    """One reader's answer about an image, a kind. `patient`: None counts as a patient of its own."""

    image: int
    reader: int
    kind: str
    patient: int | None = None
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class Prior:
    """`correct`: the share of right answers presumed of a reader, which weighs as much as `weight` answers of each kind.
    `images`: so many images of each kind are taken for seen. All zero: none, plain maximum likelihood."""

    correct: float = CORRECT
    weight: float = WEIGHT
    images: float = 1.0

    def table(self, kinds: int) -> Floats:
        """Pseudo-answers, as `Fitted.tables` has them."""
        wrong = (1 - self.correct) / (kinds - 1)
        said = self.weight * np.where(np.eye(kinds, dtype=bool), self.correct, wrong)
        return np.hstack([SURE * said, (1 - SURE) * said])


NO_PRIOR = Prior(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers as columns of one length, ordered by image: each the place of its image, of its reader and of its kind, the latter
    plus the number of kinds where it is unsure. `patients`: of each image."""

    kinds: tuple[str, ...]
    image_ids: tuple[int, ...]
    reader_ids: tuple[int, ...]
    images: Places
    readers: Places
    said: Places
    patients: Places

    @classmethod
    def of(cls, rows: Iterable[Said], kinds: Sequence[str] = KINDS) -> Self:
        """Those answers that name one of `kinds`: `cannot_tell` is no answer here."""
        place = {kind: at for at, kind in enumerate(kinds)}
        known = sorted((row for row in rows if row.kind in place), key=lambda row: row.image)
        images = {pk: at for at, pk in enumerate(dict.fromkeys(row.image for row in known))}
        readers = {pk: at for at, pk in enumerate(sorted({row.reader for row in known}))}
        owners = {images[row.image]: row.patient if row.patient is not None else (row.image,) for row in known}
        patients: dict[object, int] = {}
        of_images = [patients.setdefault(owners[at], len(patients)) for at in range(len(images))]
        columns = (
            [images[row.image] for row in known],
            [readers[row.reader] for row in known],
            [place[row.kind] + len(place) * row.unsure for row in known],
        )
        placed = [np.asarray(column, dtype=np.int64) for column in (*columns, of_images)]
        return cls(tuple(kinds), tuple(images), tuple(readers), *placed)


@dataclass(frozen=True, slots=True)
class Fitted:
    """`shares` (kinds); `tables` (readers, true kind, said kind, sure and then unsure): rows sum to 1, so that what a reader's doubt is
    worth is found of each; `truth` (images, kinds): the posterior of each image."""

    shares: Floats
    tables: Floats
    truth: Floats

    def skill(self, answers: Answers) -> Skill:
        """The same in plain numbers, as consensus asks for it."""
        tables = {
            reader: tuple(tuple(round(float(cell), 6) for cell in row) for row in table)
            for reader, table in zip(answers.reader_ids, self.tables, strict=True)
        }
        return Skill(answers.kinds, tuple(round(float(share), 6) for share in self.shares), tables)


def fit(
    answers: Answers, *, known: Mapping[int, str] | None = None, prior: Prior | None = None, rounds: int = 200, near: float = 1e-6
) -> Fitted:  # fmt: skip
    """Shares of kinds, readers' tables and images' posteriors, until no posterior moves by more than `near`.

    `known`: by image id, what an adjudicator settled; it is taken for true. Begins with the shares of votes, as Dawid and Skene do.
    """
    prior = prior or Prior()
    fixed = _fixed(answers, known or {})
    truth = _votes(answers)
    truth[list(fixed)] = _certain(fixed.values(), len(answers.kinds))
    for _ in range(rounds):
        shares, tables = _maximised(answers, truth, prior)
        after = _expected(answers, shares, tables)
        after[list(fixed)] = truth[list(fixed)]
        moved = float(np.abs(after - truth).max(initial=0.0))
        truth = after
        if moved < near:
            break
    return Fitted(*_maximised(answers, truth, prior), truth)


def _fixed(answers: Answers, known: Mapping[int, str]) -> dict[int, int]:
    kinds = {kind: at for at, kind in enumerate(answers.kinds)}
    return {at: kinds[known[pk]] for at, pk in enumerate(answers.image_ids) if pk in known and known[pk] in kinds}


def _certain(kinds: Collection[int], count: int) -> Floats:
    return np.asarray(np.eye(count)[list(kinds)])


def _votes(answers: Answers) -> Floats:
    counts = np.zeros((len(answers.image_ids), len(answers.kinds)))
    np.add.at(counts, (answers.images, answers.said % len(answers.kinds)), 1.0)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


def _maximised(answers: Answers, truth: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Shares and tables that suit these posteriors best."""
    kinds, readers = len(answers.kinds), len(answers.reader_ids)
    cell = answers.readers * 2 * kinds + answers.said
    counted = [np.bincount(cell, weights=truth[answers.images, kind], minlength=readers * 2 * kinds) for kind in range(kinds)]
    tables = np.stack(counted).reshape(kinds, readers, 2 * kinds).transpose(1, 0, 2) + prior.table(kinds)
    shares = truth.sum(axis=0) + prior.images
    return shares / max(float(shares.sum()), _LEAST), tables / np.maximum(tables.sum(axis=2, keepdims=True), _LEAST)


def _expected(answers: Answers, shares: Floats, tables: Floats) -> Floats:
    """How likely each kind is of each image, by its answers and by those who gave them."""
    if not len(answers.images):
        return np.zeros((0, len(answers.kinds)))
    by_answer = np.log(np.maximum(tables, _LEAST)).transpose(0, 2, 1)[answers.readers, answers.said]
    starts = np.flatnonzero(np.diff(answers.images, prepend=-1))
    logs = np.add.reduceat(by_answer, starts, axis=0) + np.log(np.maximum(shares, _LEAST))
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


# ---- of each reader ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Figures:
    """`sensitivity`: of the images that are not regular, how many the reader called something else than regular; `specificity`: of the
    regular ones, how many regular. Their totals are expected numbers of images, rounded."""

    sensitivity: Interval
    specificity: Interval
    images: int
    patients: int


def figures(answers: Answers, fitted: Fitted, *, seed: int = 7) -> dict[int, Figures]:
    """Of each reader, by their id."""
    regular = answers.kinds.index(Kind.REGULAR)
    p_regular = fitted.truth[:, regular]
    found = {}
    for place, reader in enumerate(answers.reader_ids):
        mine = answers.readers == place
        images, said_regular = answers.images[mine], answers.said[mine] % len(answers.kinds) == regular
        patients, weight = answers.patients[images], p_regular[images]
        found[reader] = Figures(
            share(~said_regular, 1 - weight, patients, seed=seed), share(said_regular, weight, patients, seed=seed),
            len(np.unique(images)), len(np.unique(patients)),
        )  # fmt: skip
    return found


def share(right: NDArray[np.bool_], weight: Floats, patients: Places, *, seed: int = 7) -> Interval:
    """The weighted share of `right` with its 95 % interval: the Beta posterior (Jeffreys) over an effective number of images.

    Images of one patient are alike: their number is divided by what that adds to the variance (Korn and Graubard 1998), and where all are
    right or all wrong, which shows no variance, each patient counts once. Not a bootstrap: that would state 1 to 1 of a reader without
    an error. nan where nothing is known.
    """
    total, clusters = float(weight.sum()), int((np.bincount(patients, weights=weight) > 0.5).sum()) if len(patients) else 0
    if total < 0.5 or not clusters:
        return Interval(math.nan, math.nan, math.nan, 0, 0, 0)
    hits = float(weight[right].sum())
    value = hits / total
    size = _effective(np.where(right, weight, 0.0), weight, patients, value)
    drawn = np.random.default_rng(seed).beta(value * size + 0.5, (1 - value) * size + 0.5, DRAWS)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value, min(float(low), value), max(float(high), value), round(hits), round(total), clusters)


def _effective(hits: Floats, weight: Floats, patients: Places, value: float) -> float:
    """So many images of as many patients would say as much."""
    of_hits, of_all = np.bincount(patients, weights=hits), np.bincount(patients, weights=weight)
    total, count = float(weight.sum()), int((of_all > 0).sum())
    binomial = value * (1 - value) / total
    if binomial < _LEAST or count < FEW_PATIENTS:
        return float(min(total, count))
    variance = float(((of_hits - value * of_all) ** 2).sum()) / total**2 * count / (count - 1)
    return total / max(1.0, variance / binomial)
