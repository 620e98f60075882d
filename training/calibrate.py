"""Fusion and calibration (METHODS 6), on patients that no part was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.fusion import LOGIT_LIMIT, Fusion

T_LO, T_HI = 0.10, 0.90
"""Fixed for now; the per-site bound of METHODS 6 comes with the learning room."""
RIDGE = 0.02
"""Keeps the weights finite where the classes separate perfectly, which they often do on small sets."""
QUANTILES = 401
ISOTONIC_ABOVE = 1000
"""Positives; with fewer, isotonic regression follows the noise."""
LEAST_GAIN = 0.002
"""Log loss that a further part must save."""
FAR = 0.99
"""Rank of the embedding's distance beyond which an image is out of distribution: one in a hundred of the known sources is, by chance."""
LEAST_OF_DEVICE = 10

Floats = NDArray[np.float64]


def fit(logits: Floats, distances: Floats, positive: NDArray[np.bool_], training_distances: Floats) -> Fusion:
    """Fit the fusion on held-out patients.

    logits, distances, positive: (N,) ResNeSt log odds, squared Deep SAD distances and truth. training_distances: (M,), of the
    training images.
    """
    features = np.stack([np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT), np.log(distances + 1e-6)], axis=1)
    intercept, weights = non_negative_logistic(features, positive)
    return Fusion(
        intercept=intercept, w_logit=float(weights[0]), w_distance=float(weights[1]), t_lo=T_LO, t_hi=T_HI,
        deep_sad_threshold=best_threshold(distances, positive), beyond=float(np.quantile(training_distances, 0.99)),
        quantiles=tuple(float(q) for q in np.quantile(training_distances, np.linspace(0, 1, QUANTILES))),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts say of N held-out images, each (N,): classifier log odds, squared Deep SAD distance, distance of the embedding to its
    nearest training embeddings, score of the cervix box (0 without one); and where each comes from."""

    logits: Floats
    distances: Floats
    neighbours: Floats
    detector: Floats
    sites: NDArray[np.str_]
    patients: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What the parts say of made-up shots of cameras that nobody has seen, and which of them are non-regular."""

    parts: Parts
    positive: NDArray[np.bool_]


def fit_parts(parts: Parts, positive: NDArray[np.bool_], training_distances: Floats, elsewhere: Elsewhere | None = None) -> Fusion:
    """The fusion of all parts. Distance of the embedding and score of the box count only where they help on sites left out (on
    patients left out, where less than two sites have both classes, or with made-up shots).

    On known sources every part is right nearly always, and their weights are arbitrary there: what each is worth on another camera is
    learned `elsewhere`, which counts as much as the real images together (but of the box's score nothing, as a shot has that of the
    picture it was made of). How sure to be is then learned on the real images alone.
    Isotonic on top above 1,000 positives.
    """
    base = fit(parts.logits, parts.distances, positive, training_distances)
    real = _columns(parts)
    columns, truth, weights, folds = real, positive, np.ones(len(real)), _folds(parts, positive)
    if elsewhere is not None:
        columns, truth = np.concatenate([real, _columns(elsewhere.parts)]), np.concatenate([positive, elsewhere.positive])
        weights = np.concatenate([weights, np.full(len(elsewhere.positive), len(real) / max(1, len(elsewhere.positive)))])
        folds = by_patient(np.concatenate([parts.patients, elsewhere.parts.patients]))
    tried = {used: _crossed_loss(columns[:, list(used)], truth, folds, weights) for used in ((0, 1), (0, 1, 2), (0, 1, 3), (0, 1, 2, 3))}
    best = list(min(tried, key=lambda used: tried[used] + LEAST_GAIN * (len(used) - 2)))
    intercept, found = non_negative_logistic(columns[:, best], truth, weights)
    if elsewhere is not None:
        shift, scale = non_negative_logistic((intercept + real[:, best] @ found)[:, None], positive)
        intercept, found = shift + float(scale[0]) * intercept, float(scale[0]) * found
    by_part = dict(zip(best, found.tolist(), strict=True))
    fused = replace(
        base, intercept=intercept, w_logit=by_part[0], w_distance=by_part[1], w_neighbours=by_part.get(2, 0.0),
        w_detector=by_part.get(3, 0.0), far=FAR,
    )  # fmt: skip
    if positive.sum() <= ISOTONIC_ABOVE:
        return fused
    return replace(fused, steps=isotonic_steps(intercept + real[:, best] @ found, positive))


def _columns(parts: Parts) -> Floats:
    limited = np.clip(parts.logits, -LOGIT_LIMIT, LOGIT_LIMIT)
    return np.stack([limited, np.log(parts.distances + 1e-6), parts.neighbours, 1.0 - parts.detector], axis=1)


def _folds(parts: Parts, positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A fold for each site, where two of them at least have both classes; else five by patient."""
    sites = sorted(set(parts.sites.tolist()))
    both = [site for site in sites if len(set(positive[parts.sites == site].tolist())) == 2]
    if len(both) >= 2:
        return np.array([sites.index(site) for site in parts.sites.tolist()])
    return by_patient(parts.patients)


def by_patient(patients: NDArray[np.str_], folds: int = 5) -> NDArray[np.int64]:
    """The fold of each row (N,): a patient is in one, the same for the same patients."""
    order = {patient: k for k, patient in enumerate(np.random.default_rng(5).permutation(sorted(set(patients.tolist()))).tolist())}
    return np.array([order[patient] % folds for patient in patients.tolist()], dtype=np.int64)


def _crossed_loss(features: Floats, positive: NDArray[np.bool_], folds: NDArray[np.int64], weights: Floats) -> float:
    """Log loss of images whose fold had no part in the fit."""
    losses, counted = [], []
    for fold in np.unique(folds):
        out = folds == fold
        if len(set(positive[~out].tolist())) < 2:
            continue
        intercept, found = non_negative_logistic(features[~out], positive[~out], weights[~out])
        odds = intercept + features[out] @ found
        losses.append(np.logaddexp(0, odds) - positive[out] * odds)
        counted.append(weights[out])
    return float(np.average(np.concatenate(losses), weights=np.concatenate(counted))) if losses else math.inf


def isotonic_steps(odds: Floats, positive: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """Log odds (N,) and what they become, at most 60 strictly ascending points, by pooling adjacent violators (Ayer et al. 1955).

    Each block of equal rate stands at its mean log odds, with half an image added to either class.
    """
    blocks = pooled(positive[np.argsort(odds, kind="stable")].astype(np.float64))
    ordered, points, at = np.sort(odds), [], 0
    for rate, size in blocks:
        smooth = (rate * size + 0.5) / (size + 1.0)
        points.append((float(ordered[at : at + size].mean()), float(math.log(smooth / (1.0 - smooth)))))
        at += size
    kept = [points[0]]
    for x, y in points[1:]:
        if x > kept[-1][0] and y > kept[-1][1]:
            kept.append((x, y))
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(60, len(kept))).round().astype(int))
    return tuple(kept[k] for k in chosen)


def pooled(values: Floats) -> list[tuple[float, int]]:
    """Isotonic regression of values (N,): (level, how many) of its blocks, ascending."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        level, size = value, 1
        while blocks and blocks[-1][0] >= level:
            before, count = blocks.pop()
            level, size = (before * count + level * size) / (count + size), count + size
        blocks.append((level, size))
    return blocks


def devices_of(devices: Sequence[str], positive: NDArray[np.bool_]) -> list[str]:
    """The devices of which calibration has seen enough of either class to speak for them."""
    names = np.array(list(devices), dtype=np.str_)
    least = {name: min(int((positive & (names == name)).sum()), int((~positive & (names == name)).sum())) for name in set(devices)}
    return sorted(name for name, count in least.items() if name and count >= LEAST_OF_DEVICE)


def non_negative_logistic(features: Floats, positive: NDArray[np.bool_], counts: Floats | None = None) -> tuple[float, Floats]:
    """Logistic regression (N, K) with weights >= 0 and Platt's targets; returns intercept and weights (K,) for the raw features.
    `counts` (N,): how much each row counts, 1 without.

    Platt (1999): (N+ + 1) / (N+ + 2) and 1 / (N- + 2) instead of 1 and 0, so that separable data give no infinite slope.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    x = (features - mean) / spread
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))
    share = np.full(len(x), 1 / len(x)) if counts is None else counts / counts.sum()

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w[0] + x @ w[1:]
        value = float(share @ (np.logaddexp(0, z) - target * z) + 0.5 * RIDGE * (w[1:] ** 2).sum() / len(x) ** 0.5)
        error = share * (1 / (1 + np.exp(-z)) - target)
        gradient = np.concatenate([[error.sum()], x.T @ error + RIDGE * w[1:] / len(x) ** 0.5])
        return value, gradient

    bounds = [(None, None)] + [(0.0, None)] * x.shape[1]
    found = minimize(loss, np.zeros(1 + x.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B")
    weights = found.x[1:] / spread
    return float(found.x[0] - (weights * mean).sum()), weights


def best_threshold(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """The middle of the widest gap among the thresholds of the highest sensitivity + specificity (Youden's J)."""
    order = np.argsort(scores)
    values, truth = scores[order], positive[order]
    missed, kept = np.cumsum(truth) / max(1, truth.sum()), np.cumsum(~truth) / max(1, (~truth).sum())
    gain = (kept - missed)[:-1]
    gaps = np.diff(values)
    gain = np.where(gaps > 0, gain, -math.inf)
    candidates = np.flatnonzero(gain >= gain.max() - 1e-12)
    best = candidates[np.argmax(gaps[candidates])]
    return float((values[best] + values[best + 1]) / 2)
