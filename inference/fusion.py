"""From what the parts say to one calibrated probability, a kind and a route. Pure: standard library only."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from inference.types import CLASSIFIED_KINDS, DetectorState, Kind, Route

LOGIT_LIMIT = 12.0
"""Network logits are cut here: beyond it they only say how far the training data is."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """Logistic regression with non-negative weights over what the parts say of one image (METHODS 6).

    p = sigmoid(intercept + w_logit * logit + w_distance * log d + w_neighbours * neighbours + w_detector * (1 - detector score)). As it is
    fitted with Platt's targets on patients that no part was trained on, p is calibrated; above 1,000 positives `steps` bends it
    further (isotonic: log odds and what they become, ascending). `deep_sad_threshold`: distance above which Deep SAD alone says
    non-regular. `beyond`: 99th percentile of the training distances. `quantiles`: the training distances at equal steps of rank from
    0 to 1. `far`: rank of the embedding's distance above which it is out of distribution.
    """

    intercept: float
    w_logit: float
    w_distance: float
    t_lo: float
    t_hi: float
    deep_sad_threshold: float
    beyond: float
    quantiles: tuple[float, ...]
    w_neighbours: float = 0.0
    w_detector: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    far: float = 1.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Fusion:
        """Bundles of before there were neighbours and steps read as if these weighed nothing."""
        steps = tuple((float(x), float(y)) for x, y in values.get("steps", ()))
        return Fusion(**{**values, "quantiles": tuple(values["quantiles"]), "steps": steps})

    def probability(self, logit: float, distance: float, *, neighbours: float = 0.0, detector: float = 1.0) -> float:
        """Calibrated probability of non-regular from the classifier's log odds, the squared Deep SAD distance, the embedding's distance
        to its nearest training embeddings and the score of the cervix box."""
        limited = min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)
        odds = self.intercept + self.w_logit * limited + self.w_distance * math.log(distance + 1e-6)
        odds += self.w_neighbours * neighbours + self.w_detector * (1.0 - detector)
        return sigmoid(bent(odds, self.steps))

    def rank(self, distance: float) -> float:
        """Share of the training images whose distance is smaller, in [0, 1], to the resolution of the stored quantiles."""
        return bisect_left(self.quantiles, distance) / len(self.quantiles)


def bent(odds: float, steps: Sequence[tuple[float, float]]) -> float:
    """Linear between the steps, beyond them at their last slope of 1; without steps the same odds."""
    if not steps:
        return odds
    if odds <= steps[0][0]:
        return steps[0][1] + odds - steps[0][0]
    for (x0, y0), (x1, y1) in pairwise(steps):
        if odds <= x1:
            return y0 + (y1 - y0) * (odds - x0) / (x1 - x0)
    return steps[-1][1] + odds - steps[-1][0]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def fused_probabilities(p_non_regular: float, probabilities: dict[str, float]) -> dict[str, float]:
    """Probabilities over CLASSIFIED_KINDS that agree with `p_non_regular`, which is shared out as ResNeSt divides green from iodine."""
    green, iodine = probabilities[Kind.GREEN_FILTER], probabilities[Kind.LUGOL_IODINE]
    share = green / (green + iodine) if green + iodine > 0 else 0.5
    return {
        Kind.REGULAR.value: 1.0 - p_non_regular,
        Kind.GREEN_FILTER.value: p_non_regular * share,
        Kind.LUGOL_IODINE.value: p_non_regular * (1.0 - share),
    }


def likeliest(fused: dict[str, float]) -> Kind:
    """The likeliest kind; the first of CLASSIFIED_KINDS on a tie."""
    return max(CLASSIFIED_KINDS, key=lambda kind: fused[kind.value])


def route(
    fusion: Fusion, p: float, logit: float, distance: float, state: DetectorState, *, ood: float | None = None
) -> tuple[Route, tuple[str, ...]]:
    """The bundle's own route and why it is REVIEW; no reason means an automatic one."""
    reasons = []
    if state is not DetectorState.FOUND:
        reasons.append(f"detector_{state.value}")
    if fusion.t_lo <= p <= fusion.t_hi:
        reasons.append("between_thresholds")
    if (logit > 0) != (distance > fusion.deep_sad_threshold):
        reasons.append("classifiers_disagree")
    if distance > fusion.beyond:
        reasons.append("beyond_training_distances")
    if ood is not None and ood > fusion.far:
        reasons.append("out_of_distribution")
    if reasons:
        return Route.REVIEW, tuple(reasons)
    return (Route.AUTO_NON_REGULAR if p > fusion.t_hi else Route.AUTO_REGULAR), ()
