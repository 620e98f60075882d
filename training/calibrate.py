"""Fusion and calibration in their first form (METHODS 6), on patients that no part was trained on."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.fusion import LOGIT_LIMIT, Fusion

T_LO, T_HI = 0.10, 0.90
"""Fixed for now; the per-site bound of METHODS 6 comes with the learning room."""
RIDGE = 0.02
"""Keeps the weights finite where the classes separate perfectly, which they often do on small sets."""
QUANTILES = 401

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


def non_negative_logistic(features: Floats, positive: NDArray[np.bool_]) -> tuple[float, Floats]:
    """Logistic regression (N, K) with weights >= 0 and Platt's targets; returns intercept and weights (K,) for the raw features.

    Platt (1999): (N+ + 1) / (N+ + 2) and 1 / (N- + 2) instead of 1 and 0, so that separable data give no infinite slope.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    x = (features - mean) / spread
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (n_pos + 1) / (n_pos + 2), 1 / (n_neg + 2))

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w[0] + x @ w[1:]
        value = float((np.logaddexp(0, z) - target * z).mean() + 0.5 * RIDGE * (w[1:] ** 2).sum() / len(x) ** 0.5)
        error = 1 / (1 + np.exp(-z)) - target
        gradient = np.concatenate([[error.mean()], x.T @ error / len(x) + RIDGE * w[1:] / len(x) ** 0.5])
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
