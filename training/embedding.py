"""Embeddings on a plane (the paper's Fig. 7 and 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

MOST = 1000
FEWEST = 8


def tsne(embeddings: Sequence[Sequence[float]], *, seed: int = 0) -> NDArray[np.float64]:
    """t-SNE (van der Maaten and Hinton 2008) of (N, D) embeddings of unit length: (N, 2) in [0, 1], NaN where a point was left out.

    At most MOST points are laid out, drawn by `seed`; with fewer than FEWEST there is nothing to see, and all are NaN.
    """
    points = np.full((len(embeddings), 2), np.nan)
    if len(embeddings) < FEWEST or not embeddings[0]:
        return points
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:MOST])
    values = np.asarray([embeddings[row] for row in rows], dtype=np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True) + 1e-12
    perplexity = min(30.0, (len(rows) - 1) / 3)
    laid = TSNE(perplexity=perplexity, init="random", learning_rate="auto", random_state=seed, n_jobs=1).fit_transform(values)
    low, high = laid.min(axis=0), laid.max(axis=0)
    points[rows] = (laid - low) / np.maximum(high - low, 1e-12)
    return points
