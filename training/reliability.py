"""Whether a calibrated probability means what it says (METHODS 6 and 8). Pure functions on numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.metrics import wilson
from training.types import Bin, Calibration

BINS = 15
SIMULATIONS = 1000

Floats = NDArray[np.float64]


def measure(scores: Floats, positive: NDArray[np.bool_], *, patients: int, site: str = "", seed: int = 0) -> Calibration:
    """The calibration of one group of at least one image. scores, positive: (N,), scores in [0, 1]."""
    return Calibration(
        site=site, error=calibration_error(scores, positive), limit=limit_of(scores, seed=seed), images=len(scores), patients=patients,
        positives=int(positive.sum()), bins=bins_of(scores, positive),
    )  # fmt: skip


def calibration_error(scores: Floats, positive: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error: over equal-mass bins, the mean of |mean score - share of positives|, weighted by images.

    Images of equal score may fall on both sides of a bin's edge; they share their truth evenly, so that their order does not matter.
    """
    order, edges = _edges(scores, bins)
    return float(_errors(scores[order], _shared(scores, positive)[order][None], edges)[0])


def limit_of(scores: Floats, *, simulations: int = SIMULATIONS, bins: int = BINS, seed: int = 0) -> float:
    """95th percentile of the error when each image is positive with just the probability that its score says."""
    rng = np.random.default_rng(seed)
    order, edges = _edges(scores, bins)
    ordered = scores[order]
    # In pieces: 2,000 draws of 20,000 images at once would take 300 MB
    pieces = [_errors(ordered, rng.random((100, len(ordered))) < ordered, edges) for _ in range(max(1, simulations // 100))]
    return float(np.percentile(np.concatenate(pieces), 95))


def bins_of(scores: Floats, positive: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """The reliability diagram: equal-mass bins from the lowest scores to the highest."""
    order, edges = _edges(scores, bins)
    truth = _shared(scores, positive)[order]
    return tuple(_bin(scores[order][a:b], truth[a:b]) for a, b in zip(edges, [*edges[1:], len(scores)], strict=True))


def _bin(scores: Floats, truth: Floats) -> Bin:
    interval = wilson(round(float(truth.sum())), len(truth), 0)
    share = float(truth.mean())
    return Bin(float(scores.mean()), share, min(interval.low, share), max(interval.high, share), len(truth))


def _edges(scores: Floats, bins: int) -> tuple[NDArray[np.int64], list[int]]:
    """Rows by score, and where each bin begins among them; fewer bins than asked for when there are fewer images."""
    parts = np.array_split(np.arange(len(scores)), min(bins, len(scores)))
    return np.argsort(scores, kind="stable"), [int(part[0]) for part in parts]


def _shared(scores: Floats, positive: NDArray[np.bool_]) -> Floats:
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return (np.bincount(inverse, weights=positive.astype(np.float64)) / counts)[inverse]


def _errors(scores: Floats, truths: NDArray[np.float64] | NDArray[np.bool_], edges: list[int]) -> Floats:
    """(M,) errors of M rows of truth (M, N), all of the same ordered scores (N,)."""
    gaps = np.add.reduceat(truths - scores, edges, axis=1)
    errors: Floats = np.abs(gaps).sum(axis=1) / len(scores)
    return errors
