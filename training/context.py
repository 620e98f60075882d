"""Learns to compare the images of one exam (METHODS 5): weights on features relative to the others, left out where they do not help.

Most sources have no exam with more than one kind. So made-up exams stand beside the real ones: pictures of one patient, some of them
tinted. They count the less, the more real ones there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.context import FEATURES, Context, Floats, Weights, compared, looks_regular
from training.calibrate import by_patient

RIDGE = 0.002
FOLDS = 5
LEAST = 20
"""So many images of either class, seen beside others, before a device is judged by itself; below that it goes with the rest."""
OWN_LEAST = 120
"""So many of either class before a device may have weights of its own."""
GAIN = 0.005
"""A device's log loss must sink by this much, cross-fitted by patient, or the comparison is left out there; and it may rise by no more on
the real exams together, or there is none at all."""

_SIGNS_GREEN = {"own": 1, "own_minus_others": 1, "red_green": -1, "frame_red_green": -1, "deep_sad": 1}
_SIGNS_IODINE = {"own": 1, "own_minus_others": 1, "blue_green": -1, "frame_blue_green": -1, "deep_sad": 1}
"""Where physics or the score's meaning fixes the sign: a green filter takes red away, iodine blue."""


@dataclass(frozen=True, slots=True)
class Table:
    """Images of exams, one row each: `signals` (N, 8) of `inference.context.signals`, `targets` (N,) by CLASSIFIED_KINDS.

    Rows of equal `exams` and `devices` are compared; `patients` keeps folds apart; `weights` (N,): how much a row counts.
    """

    signals: Floats
    targets: NDArray[np.int64]
    exams: NDArray[np.str_]
    patients: NDArray[np.str_]
    devices: NDArray[np.str_]
    weights: Floats

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Table:
        return Table(
            self.signals[chosen], self.targets[chosen], self.exams[chosen], self.patients[chosen], self.devices[chosen],
            self.weights[chosen],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.targets)


def joined(tables: Iterable[Table]) -> Table:
    """All rows of all tables."""
    whole = list(tables)
    names = ("signals", "targets", "exams", "patients", "devices", "weights")
    return Table(*(np.concatenate([getattr(table, name) for table in whole]) for name in names))


def beside_others(table: Table) -> tuple[Table, Floats, Floats]:
    """The rows that have others of their exam and device, of which one at least looks regular, and their features (M, 8) for green and for
    iodine. All other rows are what they are alone (`inference.assessment`)."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(table.exams.tolist(), table.devices.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    regular = [looks_regular(own) for own in table.signals]
    pairs_of = [(row, [other for other in rows if other != row]) for rows in groups.values() for row in rows]
    kept = [(row, others) for row, others in pairs_of if any(regular[other] for other in others)]
    pairs = [compared(table.signals[row], [table.signals[other] for other in others]) for row, others in kept]
    features = np.array(pairs).reshape(-1, 2, len(FEATURES))
    return table.rows(np.array([row for row, _ in kept], dtype=np.int64)), features[:, 0], features[:, 1]


def fit_weights(green: Floats, iodine: Floats, targets: NDArray[np.int64], weights: Floats) -> Weights:
    """Multinomial logistic regression over features (N, 8) of either kind, signs kept where they are known, small ridge.

    Targets are smoothed as by Platt (1999), so that separable data give no infinite slope.
    """
    scale = np.maximum(np.concatenate([green, iodine]).std(axis=0), 1e-6)
    x = np.stack([green / scale, iodine / scale])
    goal = _smoothed(targets, weights)
    share = weights / weights.sum()
    size = len(FEATURES)

    def loss(flat: Floats) -> tuple[float, Floats]:
        rows = flat.reshape(2, 1 + size)
        odds = np.stack([np.zeros(len(targets)), *(rows[k, 0] + x[k] @ rows[k, 1:] for k in range(2))], axis=1)
        top = odds.max(axis=1, keepdims=True)
        log_p = odds - top - np.log(np.exp(odds - top).sum(axis=1, keepdims=True))
        error = (np.exp(log_p) - goal) * share[:, None]
        gradient = np.stack([np.concatenate([[error[:, k + 1].sum()], x[k].T @ error[:, k + 1]]) for k in range(2)])
        gradient[:, 1:] += RIDGE * rows[:, 1:]
        return float(-(goal * log_p).sum(axis=1) @ share + 0.5 * RIDGE * (rows[:, 1:] ** 2).sum()), gradient.reshape(-1)

    bounds = [*_bounds(_SIGNS_GREEN), *_bounds(_SIGNS_IODINE)]
    found = minimize(loss, np.zeros(2 * (1 + size)), jac=True, bounds=bounds, method="L-BFGS-B").x.reshape(2, 1 + size)
    rows = [(float(row[0]), *(float(v) for v in row[1:] / scale)) for row in found]
    return Weights(rows[0], rows[1])


def _bounds(signs: dict[str, int]) -> list[tuple[float | None, float | None]]:
    limits: dict[int, tuple[float | None, float | None]] = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
    return [(None, None), *(limits[signs.get(name, 0)] for name in FEATURES)]


def _smoothed(targets: NDArray[np.int64], weights: Floats) -> Floats:
    totals = np.array([weights[targets == kind].sum() for kind in range(3)])
    goal = np.zeros((len(targets), 3))
    for kind in range(3):
        sure = (totals[kind] + 1) / (totals[kind] + 3)
        goal[targets == kind] = (1 - sure) / 2
        goal[targets == kind, kind] = sure
    return goal


def log_odds(weights: Weights, green: Floats, iodine: Floats) -> Floats:
    """(N, 2) log odds of green and of iodine against regular."""
    return np.stack([row[0] + x @ np.array(row[1:]) for row, x in ((weights.green, green), (weights.iodine, iodine))], axis=1)


def p_of(odds: Floats) -> Floats:
    """p(non-regular) (N,) of log odds (N, 2)."""
    p: Floats = 1.0 - 1.0 / (1.0 + np.exp(odds).sum(axis=1))
    return p


def calibration(odds: Floats, positive: NDArray[np.bool_], share: float) -> tuple[float, float]:
    """Shift and scale >= 0 of log odds (N, 2) that make p(non-regular) right on real exams, with Platt's targets.

    Weights learned on made-up exams know what to look at, not how plainly a filter shows. The rows count so that `share` of them are
    non-regular: sources that send whole exams may use filters rarely, and an answer shall not shift because it has company.
    """
    count, none = int(positive.sum()), int((~positive).sum())
    goal = np.where(positive, (count + 1) / (count + 2), 1 / (none + 2))
    weight = np.where(positive, share / count, (1 - share) / none)

    def loss(values: Floats) -> float:
        p = np.clip(p_of(values[0] + values[1] * odds), 1e-9, 1 - 1e-9)
        return float(-(goal * np.log(p) + (1 - goal) * np.log1p(-p)) @ weight)

    found = minimize(loss, np.array([0.0, 1.0]), bounds=[(-20.0, 20.0), (0.0, 20.0)], method="L-BFGS-B").x
    return float(found[0]), float(found[1])


def calibrated(weights: Weights, shift: float, scale: float) -> Weights:
    """Weights whose log odds are `shift` plus `scale` times those of the given ones."""
    rows = [(shift + scale * row[0], *(scale * value for value in row[1:])) for row in (weights.green, weights.iodine)]
    return Weights(rows[0], rows[1])


# ---- where it helps ---------------------------------------------------------------------------------------------------


def fit(real: Table, made_up: Table) -> tuple[Context, dict[str, float]]:
    """The comparison as a bundle keeps it, and what it changed: log loss alone and beside others, cross-fitted by patient. There is none
    where it does not lower that loss by GAIN on all exams, where it raises it by more than GAIN on the real ones by themselves, and where
    these are too few to tell.

    What to look at is learned on real and made-up exams together; how sure to be, on the real ones alone. A device with enough real
    images is judged by itself: it gets weights of its own, those of all, or none.
    """
    rows, green, iodine = beside_others(teaching(real))
    taught_by = rows.weights > 0
    few = LEAST / (LEAST + float((rows.targets[taught_by] > 0).sum()))
    extra, extra_green, extra_iodine = beside_others(teaching(replace(made_up, weights=made_up.weights * few)))
    table = joined([rows, extra])
    features = np.concatenate([green, extra_green]), np.concatenate([iodine, extra_iodine])
    told = rows.rows(taught_by)
    figures = {"images": float(len(told)), "patients": _patients(told)}
    counted = table.targets[table.weights > 0]
    if min((counted == 0).sum(), (counted > 0).sum()) < LEAST:
        return Context(None, {}), figures
    crossed = cross_fitted(table, *features)
    lone, joint = _loss(table, alone(table)), _loss(table, p_of(crossed))
    figures |= {
        "non_regular": float((told.targets > 0).sum()), "made_up_images": float(len(extra)), "log_loss_alone": lone,
        "log_loss_beside": joint,
    }  # fmt: skip
    if joint >= lone - GAIN:
        return Context(None, {}), figures
    crossed = crossed[: len(rows)]
    sure, said = _sureness(told, crossed[taught_by], float((real.targets > 0).mean()))
    figures |= said
    # The known sources leave little to gain; the gain is on cameras that nobody has seen, and must not cost much here
    if not said or said["real_log_loss_beside"] > said["real_log_loss_alone"] + GAIN:
        return Context(None, {}), figures
    # On all groups of a device, as nobody will know which of them hold a regular image
    helped, said = _by_device(replace(rows, weights=np.ones(len(rows))), green, iodine, sure[0] + sure[1] * crossed)
    # Where comparing does not help, the groups are no exams (near-duplicates, say), and teach the other devices nothing
    off = [device for device, choice in helped.items() if choice == "alone"]
    taught = np.concatenate([~np.isin(rows.devices, off), np.ones(len(extra), dtype=bool)])
    if min((table.targets[taught] == 0).sum(), (table.targets[taught] > 0).sum()) < LEAST:
        return Context(None, {}), {**figures, **said}
    if off:
        # How sure to be belongs to the weights: those without what these devices taught
        others = replace(table, weights=np.where(taught, table.weights, 0.0))
        sure = _sureness(told, cross_fitted(others, *features)[: len(rows)][taught_by], float((real.targets > 0).mean()))[0]
    common = fit_weights(features[0][taught], features[1][taught], table.targets[taught], table.weights[taught])
    common = calibrated(common, *sure)
    chosen: dict[str, Weights | None] = {}
    for device, choice in helped.items():
        mine = rows.devices == device
        own = choice == "own"
        own_weights = fit_weights(green[mine], iodine[mine], rows.targets[mine], rows.weights[mine]) if own else common
        chosen[device] = None if choice == "alone" else own_weights
    return Context(common, chosen), {**figures, **said}


def _sureness(rows: Table, crossed: Floats, share: float) -> tuple[tuple[float, float], dict[str, float]]:
    """Shift and scale of the log odds (N, 2) on real exams, and the log losses there; nothing to change where they are too few.

    The losses are of shifts and scales that a patient had no part in, as `crossed` is of weights that they had none in.
    """
    positive = rows.targets > 0
    if min(positive.sum(), (~positive).sum()) < LEAST:
        return (0.0, 1.0), {}
    shift, scale = calibration(crossed, positive, share)
    beside = p_of(shift + scale * crossed)
    folds = _folds(rows)
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and positive[~out].any() and not positive[~out].all():
            a, b = calibration(crossed[~out], positive[~out], share)
            beside[out] = p_of(a + b * crossed[out])
    said = {"real_log_loss_alone": _loss(rows, alone(rows)), "real_log_loss_beside": _loss(rows, beside), "scale": scale, "shift": shift}
    return (shift, scale), said


def teaching(table: Table) -> Table:
    """The same rows; those of exams without a regular image count nothing.

    Near-duplicates that are all stained would teach that to be like the others means nothing.
    """
    has = set(table.exams[table.targets == 0].tolist())
    return replace(table, weights=np.where([exam in has for exam in table.exams.tolist()], table.weights, 0.0))


def _by_device(rows: Table, green: Floats, iodine: Floats, crossed: Floats) -> tuple[dict[str, str], dict[str, float]]:
    """For each device with enough real images what is best there: `alone`, `common` weights or its `own`; and the log losses."""
    best: dict[str, str] = {}
    figures: dict[str, float] = {}
    for device in sorted(set(rows.devices.tolist())):
        mine = rows.devices == device
        some = rows.rows(mine)
        least = min((some.targets == 0).sum(), (some.targets > 0).sum())
        if least < LEAST:
            continue
        losses = {"alone": _loss(some, alone(some)), "common": _loss(some, p_of(crossed[mine]))}
        if least >= OWN_LEAST:
            losses["own"] = _loss(some, p_of(cross_fitted(some, green[mine], iodine[mine])))
        leading = min(losses, key=losses.__getitem__)
        best[device] = leading if losses["alone"] - losses[leading] >= GAIN else "alone"
        figures |= {f"{device}: log loss {name}": value for name, value in losses.items()}
    return best, figures


def cross_fitted(table: Table, green: Floats, iodine: Floats) -> Floats:
    """Log odds (N, 2) of every row by weights that its patient had no part in."""
    folds = _folds(table)
    answers = np.zeros((len(table), 2))
    for fold in range(FOLDS):
        out = folds == fold
        if out.any() and (~out).any():
            weights = fit_weights(green[~out], iodine[~out], table.targets[~out], table.weights[~out])
            answers[out] = log_odds(weights, green[out], iodine[out])
    return answers


def _folds(table: Table) -> NDArray[np.int64]:
    return by_patient(table.patients, FOLDS)


def alone(table: Table) -> Floats:
    """p(non-regular) (N,) as each image has it by itself."""
    p: Floats = 1.0 - 1.0 / (1.0 + np.exp(table.signals[:, :2]).sum(axis=1))
    return p


def _loss(table: Table, p: Floats) -> float:
    safe = np.clip(p, 1e-6, 1 - 1e-6)
    losses = -np.where(table.targets > 0, np.log(safe), np.log1p(-safe))
    return float(losses @ table.weights / table.weights.sum())


def _patients(table: Table) -> float:
    return float(len(set(table.patients.tolist())))
