"""Numbers in, decision out."""

from __future__ import annotations

import math

import pytest

from inference.fusion import fused_probabilities, likeliest, route
from inference.types import DetectorState, Kind, Route
from tests.inference.toys import FUSION

FOUND = DetectorState.FOUND


def test_the_probability_is_the_logistic_of_the_weighted_sum() -> None:
    assert FUSION.probability(2.0, math.e - 1e-6) == pytest.approx(1 / (1 + math.exp(-(0.7 * 2 + 0.3))))


def test_the_probability_grows_with_both_scores_and_stays_finite() -> None:
    assert FUSION.probability(1, 2) < FUSION.probability(2, 2) < FUSION.probability(2, 3)
    assert FUSION.probability(1e9, 1e30) <= 1
    assert FUSION.probability(-1e9, 0) >= 0


def test_the_rank_is_the_share_of_smaller_training_distances() -> None:
    assert [FUSION.rank(d) for d in (0.1, 0.5, 0.7, 3.0, 9.0)] == [0, 0, 0.25, 0.75, 1]


def test_fused_shares_agree_with_the_fused_probability() -> None:
    fused = fused_probabilities(0.8, {"regular": 0.9, "green_filter": 0.075, "lugol_iodine": 0.025})
    assert fused == pytest.approx({"regular": 0.2, "green_filter": 0.6, "lugol_iodine": 0.2})
    assert likeliest(fused) is Kind.GREEN_FILTER


def test_agreement_far_from_the_thresholds_is_automatic() -> None:
    assert route(FUSION, 0.02, -3, 0.5, FOUND) == (Route.AUTO_REGULAR, ())
    assert route(FUSION, 0.98, 3, 5, FOUND) == (Route.AUTO_NON_REGULAR, ())


@pytest.mark.parametrize(
    ("p", "logit", "distance", "state", "reason"),
    [
        (0.5, 3, 5, FOUND, "between_thresholds"),
        (0.1, -3, 0.5, FOUND, "between_thresholds"),
        (0.02, -3, 5, FOUND, "classifiers_disagree"),
        (0.98, 3, 0.5, FOUND, "classifiers_disagree"),
        (0.98, 3, 51, FOUND, "beyond_training_distances"),
        (0.02, -3, 0.5, DetectorState.LOW, "detector_low"),
        (0.02, -3, 0.5, DetectorState.NONE, "detector_none"),
    ],
)
def test_every_doubt_is_reviewed_and_named(p: float, logit: float, distance: float, state: DetectorState, reason: str) -> None:
    assert route(FUSION, p, logit, distance, state) == (Route.REVIEW, (reason,))
