"""The losses, as the papers write them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def deep_sad(distances: Tensor, labels: Tensor, eta: float = 1.0) -> Tensor:
    """Mean Deep SAD loss (Ruff et al. 2020, eq. 7, as in the authors' code).

    distances: (N,) squared distances d. labels: (N,) of -1 known non-regular, 0 unlabelled, +1 known regular. d for unlabelled samples,
    eta * (d + 1e-6) ** label for labelled ones.
    """
    labelled = eta * (distances + 1e-6) ** labels.to(distances.dtype)
    return torch.where(labels == 0, distances, labelled).mean()


def reconstruction(decoded: Tensor, crops: Tensor) -> Tensor:
    """Mean over the images of the squared error summed over an image's pixels and channels."""
    return ((decoded - crops) ** 2).flatten(1).sum(dim=1).mean()


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with class weights and no label smoothing. logits (N, C), targets (N,), weights (C,)."""
    return F.cross_entropy(logits.float(), targets, weight=weights)


def class_weights(counts: Tensor) -> Tensor:
    """N / (C * N_c) for counts (C,): the paper's N / (2 N_c) for two classes. A class that is absent gets 0."""
    weights = counts.sum() / (len(counts) * counts.clamp(min=1).float())
    return torch.where(counts > 0, weights, torch.zeros_like(weights))
