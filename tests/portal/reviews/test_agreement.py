"""Calculated by hand: 10 images; both regular 6, both green 2, regular/green 1, green/regular 1."""

from __future__ import annotations

import pytest

from tests.portal.reviews.one_by_one import cohen_kappa, gwet_ac1, raw

PAIRS = [("r", "r")] * 6 + [("g", "g")] * 2 + [("r", "g"), ("g", "r")]


def test_raw_agreement() -> None:
    assert raw(PAIRS) == pytest.approx(0.8)


def test_cohen_kappa() -> None:
    # chance = 0.7 * 0.7 + 0.3 * 0.3 = 0.58; (0.8 - 0.58) / 0.42
    assert cohen_kappa(PAIRS) == pytest.approx(0.22 / 0.42)


def test_gwet_ac1() -> None:
    # chance = (0.7 * 0.3 + 0.3 * 0.7) / (2 - 1) = 0.42; (0.8 - 0.42) / 0.58
    assert gwet_ac1(PAIRS) == pytest.approx(0.38 / 0.58)


def test_ac1_stays_high_where_kappa_falls_with_a_rare_kind() -> None:
    # chance for kappa 0.95^2 + 0.05^2 = 0.905; for AC1 2 * 0.95 * 0.05 = 0.095
    pairs = [("r", "r")] * 90 + [("r", "g")] * 5 + [("g", "r")] * 5
    assert cohen_kappa(pairs) == pytest.approx((0.9 - 0.905) / 0.095)
    assert gwet_ac1(pairs) == pytest.approx((0.9 - 0.095) / 0.905)


def test_nothing_to_compare_says_nothing() -> None:
    assert raw([]) is cohen_kappa([]) is gwet_ac1([]) is None


def test_one_kind_only() -> None:
    assert cohen_kappa([("r", "r")]) is None
    assert gwet_ac1([("r", "r")]) == 1.0
