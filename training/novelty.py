"""What a bundle keeps of its training images, to tell how unlike them a new one is (METHODS 6)."""

from __future__ import annotations

import numpy as np

from inference.novelty import DIMENSIONS, NEAREST, PROTOTYPES, Floats, Novelty, nearest

QUANTILES = 201
ENOUGH = 100
"""So many held-out images must there be to say what is usual; below that, training images compared with each other say it too."""


def fit(training: Floats, held_out: Floats, *, seed: int) -> Novelty:
    """From embeddings (N, D) of training images and (M, D) of patients that no part was trained on.

    What is usual is measured on the latter: embeddings of training images lie closer together than those of any new image.
    """
    rng = np.random.default_rng(seed)
    mean = training.mean(axis=0)
    some = training[rng.permutation(len(training))[:4000]] - mean
    _, spread, turned = np.linalg.svd(some, full_matrices=False)
    count = min(DIMENSIONS, len(spread), max(1, int((spread > 1e-6 * spread[0]).sum())))
    axes = turned[:count].T / (spread[:count] / np.sqrt(max(1, len(some) - 1)) + 1e-9)
    known = (training - mean) @ axes
    prototypes = known[rng.permutation(len(known))[:PROTOTYPES]]
    # As it will be read back: in half precision
    kept = Novelty.from_tensors(Novelty(mean, axes, prototypes, ()).tensors(), ())
    usual = kept.distances(held_out)
    if len(held_out) < ENOUGH:
        # An image that is itself a prototype is its own nearest
        usual = np.concatenate([usual, nearest(kept.prototypes, kept.prototypes, count=NEAREST, skip=1)])
    return Novelty(kept.mean, kept.axes, kept.prototypes, tuple(float(q) for q in np.quantile(usual, np.linspace(0, 1, QUANTILES))))
