"""Figures against values calculated by hand or printed in papers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from training.losses import class_weights, deep_sad, reconstruction
from training.metrics import auroc, box_iou, by_patient, covered, f1_score, five_numbers, roc_points, wilson


def test_wilson_gives_the_papers_interval() -> None:
    """94 of 101 on Peru: 0.931 (0.864-0.966)."""
    interval = wilson(94, 101, 79)
    assert (round(interval.value, 3), round(interval.low, 3), round(interval.high, 3)) == (0.931, 0.864, 0.966)


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 10, 1).low == 0
    assert wilson(0, 10, 1).high == pytest.approx(0.2775, abs=1e-4)
    assert wilson(10, 10, 1).high == 1
    assert math.isnan(wilson(0, 0, 0).value)
    assert (wilson(0, 0, 0).low, wilson(0, 0, 0).high) == (0, 1)


def test_auroc_counts_pairs_and_halves_ties() -> None:
    scores, truth = [0.1, 0.4, 0.35, 0.8], [False, False, True, True]
    assert auroc(scores, truth) == 0.75
    assert auroc([1, 1, 1, 1], truth) == 0.5
    assert auroc([1, 2, 2, 3], truth) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert math.isnan(auroc(scores, [True] * 4))


def test_roc_has_only_its_corners() -> None:
    points = roc_points([0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, False, True])
    assert [(f, round(t, 3)) for f, t, _ in points] == [(0, 0), (0, 0.667), (1, 0.667), (1, 1)]
    assert points[0][2] == math.inf
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    assert area == pytest.approx(auroc([0.9, 0.8, 0.7, 0.6, 0.5], [True, True, False, False, True]))
    assert roc_points([0.5], [True]) == []


def test_f1_is_the_harmonic_mean() -> None:
    said, truth = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert f1_score(said, truth) == 0.5
    assert math.isnan(f1_score(np.array([False]), np.array([False])))


def test_patients_are_drawn_whole() -> None:
    """Ten copies of one patient's image say no more than one: the interval stays as wide."""
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    few = by_patient(lambda rows: float(values[rows].mean()), list("abcde"))
    copied = np.repeat(values, 10)
    many = by_patient(lambda rows: float(copied[rows].mean()), [p for p in "abcde" for _ in range(10)])
    assert few == pytest.approx(many)
    assert few[0] < 0.6 < few[1]


def test_box_overlap_by_hand() -> None:
    assert box_iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert box_iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert covered((0, 0, 2, 2), (1, 0, 9, 9)) == 0.5
    assert covered((0, 0, 0, 0), (0, 0, 1, 1)) == 0


def test_five_numbers_by_tukey() -> None:
    numbers = five_numbers([1, 2, 3, 4, 100])
    assert (numbers["q1"], numbers["median"], numbers["q3"]) == (2, 3, 4)
    assert (numbers["low"], numbers["high"], numbers["outliers"]) == (1, 4, [100])


def test_deep_sad_loss_is_the_published_formula() -> None:
    d = torch.tensor([2.0, 4.0, 0.5])
    labels = torch.tensor([0, 1, -1])
    expected = (2.0 + 3.0 * (4.0 + 1e-6) + 3.0 / (0.5 + 1e-6)) / 3
    assert float(deep_sad(d, labels, eta=3.0)) == pytest.approx(expected, rel=1e-6)


def test_deep_sad_loss_draws_regular_in_and_pushes_anomalies_out() -> None:
    d = torch.tensor([2.0, 2.0, 2.0], requires_grad=True)
    deep_sad(d, torch.tensor([1, 0, -1])).backward()
    assert d.grad is not None
    assert [float(g) > 0 for g in d.grad] == [True, True, False]


def test_reconstruction_is_the_mean_squared_error() -> None:
    decoded = torch.ones(2, 3, 4, 4)
    decoded[0] = 3.0
    assert float(reconstruction(decoded, torch.zeros(2, 3, 4, 4))) == (9 + 1) / 2


def test_class_weights_are_the_papers() -> None:
    """N / (2 N_c) for two classes; the share of an absent class is 0."""
    assert class_weights(torch.tensor([30, 10])).tolist() == pytest.approx([40 / 60, 40 / 20])
    assert class_weights(torch.tensor([5, 0]))[1] == 0
