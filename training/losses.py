"""The losses, as the papers write them."""

from __future__ import annotations

import math

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
    """Mean squared error over images, channels and pixels (METHODS 3; the Deep SAD authors' code takes the mean as well).

    The scale matters beside the weight decay: Adam divides it out of this gradient and not out of the decay's.
    """
    return F.mse_loss(decoded, crops)


def weighted_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy with class weights and no label smoothing. logits (N, C), targets (N,), weights (C,)."""
    return F.cross_entropy(logits.float(), targets, weight=weights)


def weighted_binary(logits: Tensor, positive: Tensor, weights: Tensor) -> Tensor:
    """The paper's ResNeSt loss: binary cross-entropy with class weights.

    logits (N,) of the positive class, positive (N,) truth, weights (2,) of the negative and the positive class, N / (2 N_c). A network that
    minimises it gives the odds times N_negative / N_positive: see `log_odds_of_weights`.
    """
    truth = positive.to(logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, truth, weight=weights[positive.long()].to(logits.dtype))


def log_odds_of_weights(negatives: int, positives: int) -> float:
    """What the weights N / (2 N_c) add to the logit, log(N_negative / N_positive): to be subtracted before calibrating (METHODS 4)."""
    return math.log(negatives / positives)


def hypersphere(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean hypersphere-classifier loss (Ruff et al. 2021, with the pseudo-Huber norm h).

    outputs (N, D) z; labels (N,) of -1 known anomaly, else normal. h = sqrt(||z||^2 + 1) - 1 for normal samples,
    -log(1 - exp(-h) + 1e-9) for anomalies.
    """
    h = pseudo_huber(outputs)
    return torch.where(labels == -1, -torch.log(1 - torch.exp(-h) + 1e-9), h).mean()


def pseudo_huber(outputs: Tensor) -> Tensor:
    """h (N,) = sqrt(||z||^2 + 1) - 1 of outputs (N, D): the hypersphere classifier's score, larger is more anomalous."""
    return torch.sqrt((outputs**2).sum(dim=1) + 1) - 1


def class_weights(counts: Tensor) -> Tensor:
    """N / (C * N_c) for counts (C,): the paper's N / (2 N_c) for two classes. A class that is absent gets 0."""
    weights = counts.sum() / (len(counts) * counts.clamp(min=1).float())
    return torch.where(counts > 0, weights, torch.zeros_like(weights))
