"""Calibration: worked by hand, against scikit-learn, and against its own simulation."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from training.reliability import bins_of, calibration_error, limit_of, measure


def _drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.random(n)
    return scores, rng.random(n) < scores


def test_two_bins_by_hand() -> None:
    """|0.2 - 0| over half of the images, |0.7 - 0.5| over the other half."""
    scores, truth = np.array([0.1, 0.3, 0.6, 0.8]), np.array([False, False, False, True])
    assert calibration_error(scores, truth, bins=2) == pytest.approx(0.5 * 0.2 + 0.5 * 0.2)
    bins = bins_of(scores, truth, bins=2)
    assert [(round(b.score, 3), b.share, b.images) for b in bins] == [(0.2, 0.0, 2), (0.7, 0.5, 2)]
    assert bins[1].low < 0.5 < bins[1].high


def test_the_bins_are_those_of_scikit_learn() -> None:
    scores, truth = _drawn(300)
    shares, means = calibration_curve(truth, scores, n_bins=15, strategy="quantile")
    bins = bins_of(scores, truth)
    assert [b.share for b in bins] == pytest.approx(list(shares))
    assert [b.score for b in bins] == pytest.approx(list(means))
    assert calibration_error(scores, truth) == pytest.approx(float(np.abs(shares - means).mean()))


def test_the_order_of_images_with_equal_scores_does_not_matter() -> None:
    scores, truth = np.full(90, 0.5), np.arange(90) < 45
    assert calibration_error(scores, truth) == pytest.approx(0)
    assert calibration_error(scores, truth[::-1]) == pytest.approx(0)


def test_perfect_scores_stay_below_the_limit_nineteen_times_in_twenty() -> None:
    scores, _ = _drawn(200)
    rng = np.random.default_rng(9)
    limit = limit_of(scores)
    below = np.mean([calibration_error(scores, rng.random(200) < scores) <= limit for _ in range(400)])
    assert 0.92 < below < 0.98


def test_the_limit_shrinks_with_more_images_and_squeezed_scores_exceed_it() -> None:
    few, many = _drawn(60), _drawn(2000)
    assert limit_of(few[0]) > 2 * limit_of(many[0])
    squeezed = measure(0.5 + (many[0] - 0.5) / 2, many[1], patients=400, site="north")
    assert squeezed.error > 2 * squeezed.limit
    assert (squeezed.site, squeezed.images, squeezed.patients, len(squeezed.bins)) == ("north", 2000, 400, 15)


def test_fewer_images_than_bins_are_a_bin_each() -> None:
    assert len(bins_of(np.array([0.2, 0.9]), np.array([False, True]))) == 2
