"""What may pass unseen, against scipy's exact intervals and the numbers of METHODS 6."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from inference.earned import earned, least_positives


@pytest.mark.parametrize(("alpha", "least"), [(0.05, 59), (0.02, 149), (0.01, 299)])
def test_the_fewest_positives_are_those_of_the_methods(alpha: float, least: int) -> None:
    assert least_positives(alpha, 0.95) == least
    few, enough = [earned([0.5] * n, alpha, 0.95) for n in (least - 1, least)]
    assert (few.t_lo, few.needed) == (None, 1)
    assert (enough.t_lo, enough.needed, enough.missed) == (0.5, 0, 0)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("positives", [1, 58, 59, 93, 150, 400])
def test_it_is_the_largest_threshold_that_the_exact_bound_allows(positives: int, alpha: float, confidence: float) -> None:
    scores = [(k + 1) / (positives + 1) for k in range(positives)]
    random.Random(4).shuffle(scores)
    found = earned(scores, alpha, confidence)
    # two-sided by 2c - 1 has the upper end of one-sided by c
    upper = [binomtest(k, positives).proportion_ci(2 * confidence - 1, "exact").high for k in range(positives)]
    allowed = [k for k, bound in enumerate(upper) if bound <= alpha]
    assert found.t_lo == (sorted(scores)[allowed[-1]] if allowed else None)
    assert found.missed == (allowed[-1] if allowed else 0)


def test_equal_scores_are_missed_together_or_not_at_all() -> None:
    found = earned([0.01] * 5 + [0.9] * 88, 0.05, 0.95)
    assert found.t_lo == 0.01, "93 allow one miss, and below this none of five lies"
    assert found.missed == 0


def test_nothing_passes_where_no_miss_is_tolerated() -> None:
    assert earned([0.9] * 5000, 0.0, 0.95) == earned([0.9] * 5000, 0.0, 0.5)
    assert (earned([0.9] * 5000, 0.0, 0.95).t_lo, earned([], 0.0, 0.95).needed) == (None, None)


def test_thousands_are_no_trouble() -> None:
    found = earned([k / 20_000 for k in range(20_000)], 0.05, 0.95)
    assert 0.046 < found.missed / 20_000 < 0.05


@pytest.mark.parametrize(("alpha", "confidence"), [(-0.1, 0.95), (1.0, 0.95), (0.05, 0.0), (0.05, 1.0)])
def test_what_is_no_share_is_refused(alpha: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="tolerated share"):
        earned([0.5], alpha, confidence)


@given(st.lists(st.floats(0, 1), max_size=120), st.sampled_from([0.02, 0.05, 0.1]), st.floats(0, 1))
def test_a_further_positive_above_it_never_takes_the_threshold_down(scores: list[float], alpha: float, further: float) -> None:
    before = earned(scores, alpha, 0.95)
    after = earned([*scores, further], alpha, 0.95)
    if before.t_lo is not None and further >= before.t_lo:
        assert after.t_lo is not None
        assert after.t_lo >= before.t_lo
