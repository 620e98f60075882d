"""Every method under its own name: the numbers of the paper, and what makes a method itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.detector import CervixDetector, DetectorConfig
from inference.resnest import CropClassifier, ResNeStConfig, non_regular_logit
from inference.types import Progress
from tests.training import toys
from training import deep_sad, heads, resnest
from training.augment import WIDER
from training.config import BINARY, CROPPED, DeepSADRecipe, DetectorRecipe, HeadRecipe, ResNeStRecipe
from training.engine import Reporter, generator
from training.methods import METHODS, PRESET_NAMES
from training.types import TrainingRefused


def quiet(*stages: str, seen: list[Progress] | None = None) -> Reporter:
    said: list[Progress] = [] if seen is None else seen
    return Reporter(said.append, lambda: False, dict.fromkeys(stages, 1.0))


def test_every_method_has_its_three_presets() -> None:
    assert set(METHODS) >= {
        "retinanet_v2", "retinanet_lite", "deep_sad", "deep_sad_no_ae", "deep_svdd", "resnest_224", "resnest_32", "deep_sad_224",
        "hypersphere_224",
    }  # fmt: skip
    assert all(tuple(method.presets) == PRESET_NAMES for method in METHODS.values())


def test_the_paper_presets_are_the_papers() -> None:
    sad, svdd = METHODS["deep_sad"].recipe("paper"), METHODS["deep_svdd"].recipe("paper")
    assert isinstance(sad, DeepSADRecipe)
    assert (sad.batch, sad.lr, sad.weight_decay, sad.epochs, sad.ae_lr, sad.ae_epochs, sad.ae_weight_decay, sad.eta) == (
        4, 1e-4, 0.5e-6, 150, 1e-4, 150, 0.5e-3, 1.0,
    )  # fmt: skip
    assert not any([sad.augment, sad.balanced, sad.schedule])
    assert svdd == replace(sad, unsupervised=True)
    assert METHODS["deep_sad_no_ae"].recipe("paper") == replace(sad, ae_init=False)
    for name, size, batch in (("resnest_224", 224, 64), ("resnest_32", 32, 256)):
        recipe = METHODS[name].recipe("paper")
        assert isinstance(recipe, ResNeStRecipe)
        assert (recipe.backbone, recipe.size, recipe.batch, recipe.lr, recipe.epochs) == ("resnest50d", size, batch, 5e-4, 100)
        assert (recipe.objective, recipe.views, recipe.optimizer, recipe.ema) == ("binary", "cropped", "adam", 0)
    detector = METHODS["retinanet_v2"].recipe("paper")
    assert isinstance(detector, DetectorRecipe)
    assert detector.size * 3 / 4 >= 512


def test_a_preset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="no preset 'big'"):
        METHODS["deep_sad"].recipe("big")


def test_the_papers_detector_answers_through_the_same_interface() -> None:
    torch.manual_seed(0)
    model = CervixDetector(DetectorConfig(arch="retinanet_v2", backbone="resnet50", size=128, channels=256, score_threshold=0.001)).eval()
    names = dict(model.named_parameters())
    assert names["net.backbone.body.conv1.weight"].shape == (64, 3, 7, 7)
    assert names["net.head.classification_head.cls_logits.weight"].shape[:2] == (18, 256)
    boxes = model.detect(torch.rand(1, 3, 128, 128))[0]
    assert all(0 <= box.x0 <= box.x1 <= 128 for box in boxes)
    target = {"boxes": torch.tensor([[20.0, 20, 100, 100]]), "labels": torch.tensor([1])}
    losses = model.train().losses(torch.rand(2, 3, 128, 128), [target, target])
    assert all(math.isfinite(float(loss.detach())) for loss in losses.values())


def material(count: int = 24) -> deep_sad.Material:
    """Reddish regular crops, greenish others."""
    rng = np.random.default_rng(0)
    targets = np.arange(count) % 3 % 2
    side = round(32 * WIDER)
    colours = np.where(targets[:, None] == 0, [200, 110, 120], [60, 170, 60])[:, None, None]
    wide = np.clip(colours + rng.normal(0, 15, (count, side, side, 3)), 0, 255).astype(np.uint8)
    plain = np.clip(colours + rng.normal(0, 15, (count, 32, 32, 3)), 0, 255).astype(np.uint8)
    return deep_sad.Material(wide, targets, np.where(targets == 0, 1, -1), plain)


def test_the_papers_deep_sad_sees_every_crop_once_and_as_it_is() -> None:
    given = material()
    crops, labels = deep_sad.plain_batch_of(given, torch.tensor([3, 0]))
    assert given.plain is not None
    assert torch.equal(crops[1], torch.from_numpy(given.plain[0]).permute(2, 0, 1).float() / 255)
    assert labels.tolist() == [given.labels[3], given.labels[0]]


def test_deep_svdd_ignores_every_label(tmp_path: Path) -> None:
    recipe = replace(DeepSADRecipe(epochs=2, ae_epochs=1, batch=8), unsupervised=True)
    turned = replace(material(), labels=-material().labels)
    one, _ = deep_sad.train(
        material(), recipe, start=None, out=tmp_path / "a", seed=1, device="cpu", reporter=quiet("autoencoder", "deep_sad")
    )
    other, _ = deep_sad.train(
        turned, recipe, start=None, out=tmp_path / "b", seed=1, device="cpu", reporter=quiet("autoencoder", "deep_sad")
    )
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_papers_resnest_is_unweighted_before_it_is_calibrated(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    targets = np.array([0] * 24 + [1] * 4 + [2] * 4)
    wide = rng.integers(0, 255, (32, round(32 * WIDER), round(32 * WIDER), 3), dtype=np.uint8)
    held = rng.integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    recipe = ResNeStRecipe(
        backbone="test_resnet", size=32, epochs=1, batch=16, lr=0.0, weight_decay=0.0, synthetic_green=0, synthetic_iodine=0,
        epoch_images=0, ema=0, objective=BINARY, views=CROPPED, optimizer="adam",
    )  # fmt: skip
    model, _ = resnest.train(
        wide, targets, held, targets[:8], recipe, start=None, out=tmp_path, seed=1, device="cpu", reporter=quiet("resnest")
    )
    bias = model.net.get_classifier().bias.detach().clone()
    resnest.unweight(model, 24, 8)
    crops = torch.rand(2, 3, 32, 32)
    before = non_regular_logit(model(crops))
    resnest.unweight(model, 8, 24)
    assert torch.allclose(non_regular_logit(model(crops)) - before, torch.full((2,), math.log(3)), atol=1e-5)
    # Nothing was learned at a rate of 0, so the regular bias moved by the weighting alone
    torch.manual_seed(1)
    fresh = CropClassifier(ResNeStConfig(backbone="test_resnet", size=32)).net.get_classifier().bias.detach()
    assert (bias - fresh).tolist() == pytest.approx([math.log(24 / 8), 0, 0], abs=1e-5)


def test_the_kinds_do_not_touch_the_features_of_the_papers_loss() -> None:
    torch.manual_seed(0)
    model = CropClassifier(ResNeStConfig(backbone="test_resnet", size=32)).eval()
    crops = torch.rand(4, 3, 32, 32)
    gradients = []
    for classes in (torch.tensor([0, 1, 1, 2]), torch.tensor([0, 2, 2, 1])):
        model.zero_grad()
        resnest.binary_loss(model, crops, classes, torch.tensor([1.0, 1.0])).backward()
        gradients.append(next(model.net.parameters()).grad)
    assert gradients[0] is not None
    assert torch.equal(gradients[0], gradients[1])


@pytest.mark.parametrize("loss", ["deep_sad", "hypersphere"])
def test_a_head_has_no_bias_and_tells_the_classes_apart(tmp_path: Path, loss: str) -> None:
    recipe = HeadRecipe(loss=loss, width=32, dimensions=16, epochs=12, batch=16)
    rng = generator(0, 0)
    regular, other = torch.rand(60, 24, generator=rng), torch.rand(20, 24, generator=rng) + torch.eye(24)[0] * 2
    labels = torch.tensor([1] * 50 + [0] * 10 + [-1] * 20)
    head = heads.train(torch.cat([regular, other]), labels, recipe, out=tmp_path, seed=1, device="cpu", reporter=quiet("head"))
    assert [name for name, _ in head.named_parameters()] == ["first.weight", "last.weight"]
    scores = heads.scores_of(head, torch.cat([regular, other]))
    assert np.median(scores[60:]) > np.median(scores[:60])


def test_views_that_were_tinted_become_known_anomalies() -> None:
    model = CropClassifier(ResNeStConfig(backbone="test_resnet", size=32)).eval()
    wide = np.full((40, round(32 * WIDER), round(32 * WIDER), 3), 120, dtype=np.uint8)
    seen, labels = heads.embedded_views(
        model, wide, np.zeros(40, dtype=np.int64), np.ones(40, dtype=np.int64), ResNeStRecipe(synthetic_green=0.4), 2, 3
    )
    assert seen.shape[0] == len(labels) == 80
    assert 10 < int((labels == -1).sum()) < 70


def test_a_word_that_no_recipe_knows_is_refused(tmp_path: Path) -> None:
    broken = replace(toys.TINY.resnest, objective="binry")
    nothing = np.zeros((0, 1, 1, 3), dtype=np.uint8)
    with pytest.raises(TrainingRefused, match="objective = 'binry'"):
        resnest.train(nothing, np.zeros(0, dtype=np.int64), nothing, np.zeros(0, dtype=np.int64), broken, start=None, out=tmp_path, seed=1,
                      device="cpu", reporter=quiet("resnest"))  # fmt: skip
