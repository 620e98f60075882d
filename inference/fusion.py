"""From what the parts say to one calibrated probability, a kind and a route. Pure: standard library only."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Any

from inference.types import CLASSIFIED_KINDS, DetectorState, Kind, Route

LOGIT_LIMIT = 12.0
"""Network logits are cut here: beyond it they only say how far the training data is."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """Logistic regression with non-negative weights over the ResNeSt logit and the log Deep SAD distance (METHODS 6), in its first form.

    p = sigmoid(intercept + w_logit * logit + w_distance * log d). As it is fitted with Platt's targets on patients that no part was
    trained on, p is calibrated. `deep_sad_threshold`: distance above which Deep SAD alone says non-regular. `beyond`: 99th percentile of
    the training distances. `quantiles`: the training distances at equal steps of rank from 0 to 1.
    """

    intercept: float
    w_logit: float
    w_distance: float
    t_lo: float
    t_hi: float
    deep_sad_threshold: float
    beyond: float
    quantiles: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Fusion:
        return Fusion(**{**values, "quantiles": tuple(values["quantiles"])})

    def probability(self, logit: float, distance: float) -> float:
        """Calibrated probability of non-regular from the ResNeSt log odds and the squared Deep SAD distance."""
        limited = min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)
        return sigmoid(self.intercept + self.w_logit * limited + self.w_distance * math.log(distance + 1e-6))

    def rank(self, distance: float) -> float:
        """Share of the training images whose distance is smaller, in [0, 1], to the resolution of the stored quantiles."""
        return bisect_left(self.quantiles, distance) / len(self.quantiles)


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


def route(fusion: Fusion, p: float, logit: float, distance: float, state: DetectorState) -> tuple[Route, tuple[str, ...]]:
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
    if reasons:
        return Route.REVIEW, tuple(reasons)
    return (Route.AUTO_NON_REGULAR if p > fusion.t_hi else Route.AUTO_REGULAR), ()
