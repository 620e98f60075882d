"""Deep SAD: weights that really are copied, a centre that is set, labels that mean what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inference.deep_sad import DeepSAD, Encoder
from training import calibrate, deep_sad, resnest
from training.augment import WIDER
from training.types import TrainingRefused


def test_every_weight_of_the_autoencoder_arrives() -> None:
    torch.manual_seed(1)
    auto, model = deep_sad.Autoencoder(), DeepSAD()
    auto(torch.rand(8, 3, 32, 32))  # moves the batch norms' running statistics too
    deep_sad.copy_encoder(auto.encoder, model.encoder)
    given, kept = auto.encoder.state_dict(), model.encoder.state_dict()
    assert len(kept) == 13
    assert all(torch.equal(kept[name], given[name]) for name in given)


def test_a_copy_that_loses_weights_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "load_state_dict", lambda *_args, **_options: None)
    with pytest.raises(RuntimeError, match="after the copy"):
        deep_sad.copy_encoder(Encoder(), Encoder())


def test_the_decoder_gives_pictures_back() -> None:
    out = deep_sad.Autoencoder()(torch.rand(4, 3, 32, 32)).detach()
    assert out.shape == (4, 3, 32, 32)
    assert 0 <= float(out.min()) <= float(out.max()) <= 1


def test_an_automatic_label_is_never_evidence() -> None:
    assert [deep_sad.label_of(t, expert=True) for t in (0, 1, 2)] == [1, -1, -1]
    assert [deep_sad.label_of(t, expert=False) for t in (0, 1, 2)] == [0, 0, 0]


def test_the_centre_is_the_mean_of_what_is_not_a_known_anomaly() -> None:
    torch.manual_seed(1)
    side = round(32 * WIDER)
    wide = np.random.default_rng(0).integers(0, 255, (6, side, side, 3), dtype=np.uint8)
    material = deep_sad.Material(wide, np.array([0, 0, 0, 1, 2, 1]), np.array([1, 1, 0, -1, -1, -1]))
    model = DeepSAD()
    deep_sad.settle(model, material)
    mean = model.encoder(deep_sad.inner(wide[:3])).mean(0)
    assert float(model.centre.abs().min()) >= 0.1 - 1e-6
    assert torch.allclose(model.centre[mean.abs() > 0.1], mean[mean.abs() > 0.1], atol=1e-5)


def test_a_centre_near_zero_or_a_loss_that_never_fell_is_refused() -> None:
    model = DeepSAD()
    with pytest.raises(TrainingRefused, match="centre"):
        deep_sad.check(model, [2.0, 1.0], started=False)
    model.settle(torch.ones(2, 128))
    with pytest.raises(TrainingRefused, match="never fell"):
        deep_sad.check(model, [1.0, 2.0, 1.5], started=False)
    deep_sad.check(model, [2.0, 1.0], started=False)


def test_an_epoch_of_the_classifier_has_fixed_shares_and_whole_batches() -> None:
    targets = np.array([0] * 50 + [1] * 5 + [2] * 7)
    order = resnest.balanced(targets, 96, torch.Generator().manual_seed(0))
    counts = np.bincount(targets[order.numpy()], minlength=3)
    assert len(order) == 96
    assert np.abs(counts / 96 - resnest.SHARES).max() < 0.02


def test_fusion_weights_are_never_negative() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(200) % 2 == 0
    features = np.stack([positive * 2.0 + rng.normal(0, 1, 200), ~positive * 2.0 + rng.normal(0, 1, 200)], axis=1)
    intercept, weights = calibrate.non_negative_logistic(features, positive)
    assert weights[0] > 0.5
    assert weights[1] == 0
    assert np.isfinite(intercept)


def test_calibrated_probabilities_match_the_frequencies() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 2, 6000)
    positive = rng.random(6000) < 1 / (1 + np.exp(-logit))
    fusion = calibrate.fit(3 * logit + 1, np.ones(6000), positive, np.ones(10))
    p = np.array([fusion.probability(3 * x + 1, 1.0) for x in logit])
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (p >= low) & (p < low + 0.25)
        assert abs(p[inside].mean() - positive[inside].mean()) < 0.04


def test_separable_scores_give_no_infinite_slope() -> None:
    positive = np.array([False] * 20 + [True] * 20)
    fusion = calibrate.fit(np.where(positive, 5.0, -5.0), np.where(positive, 9.0, 0.1), positive, np.linspace(0.1, 9, 50))
    assert 0.5 < fusion.probability(5.0, 9.0) < 0.9999
    assert 0.1 < fusion.deep_sad_threshold < 9.0


def test_the_threshold_stands_in_the_widest_best_gap() -> None:
    scores, positive = np.array([1.0, 2.0, 10.0, 11.0]), np.array([False, False, True, True])
    assert calibrate.best_threshold(scores, positive) == 6.0
