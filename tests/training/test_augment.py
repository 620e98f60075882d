"""Augmentation keeps what it promises: ranges, repeatable draws, boxes that follow the cervix, tints that change the class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from training import augment
from training.config import PAPER_RESNEST_32, PAPER_RESNEST_224, PRESETS, ResNeStRecipe
from training.data import Canvases, background_strips
from training.degrade import as_jpeg
from training.resnest import batch_of


def rng(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(16, 3, 40, 40, generator=rng())


def test_equal_generators_give_equal_pictures(images: torch.Tensor) -> None:
    for transform in (augment.light, augment.soften, augment.detector_colours, lambda x, g: augment.classifier_views(x, 24, g)):
        once, twice = transform(images, rng()), transform(images, rng())
        assert torch.equal(once, twice)
        assert 0 <= float(once.min()) <= float(once.max()) <= 1


def test_a_green_filter_moves_the_picture_towards_green_by_its_strength() -> None:
    tissue = torch.tensor([0.75, 0.45, 0.48]).view(1, 3, 1, 1).expand(32, 3, 16, 16)

    def greenness(strength: float) -> float:
        out = augment.green_tint(tissue, torch.full((32,), strength), rng())
        return float((out[:, 1] - out[:, 0]).mean())

    assert greenness(0.0) == pytest.approx(-0.3, abs=1e-3)
    assert greenness(0.0) < greenness(0.3) < greenness(0.9)


def test_iodine_is_dark_and_without_blue(images: torch.Tensor) -> None:
    out = augment.iodine_stain(images, torch.ones(16), rng())
    mean = out.mean((0, 2, 3))
    assert mean[0] > mean[1] > mean[2]
    assert float(out.mean()) < float(images.mean())
    assert torch.allclose(augment.iodine_stain(images, torch.zeros(16), rng()), images)


def test_only_regular_pictures_are_tinted_and_their_class_follows(images: torch.Tensor) -> None:
    targets = torch.tensor([0, 1, 2, 0] * 4)
    out, changed = augment.tint_some(images, targets, 0.5, 0.5, rng())
    assert torch.equal(changed[targets > 0], targets[targets > 0])
    assert torch.equal(out[targets > 0], images[targets > 0])
    assert set(changed[targets == 0].tolist()) == {1, 2}


def test_boxes_follow_the_cervix() -> None:
    """A white ellipse in its box: after the transform the bright pixels still fill the transformed box."""
    y, x = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    disc = (((x - 45) / 25) ** 2 + ((y - 55) / 18) ** 2 < 1).float()
    boxes = torch.tensor([[20.0, 37, 70, 73]]).repeat(24, 1)
    out, moved = augment.detector_views(disc.expand(24, 3, 100, 100), boxes, 80, rng())
    for image, box in zip(out, moved, strict=True):
        rows, columns = (image[0] > 0.5).nonzero(as_tuple=True)
        seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        # The turned ellipse inside a stretched box is exact but for pixels cut off at the border
        assert float((seen - box).abs().max()) < 5


def test_negatives_stay_without_a_box() -> None:
    boxes = torch.full((4, 4), torch.nan)
    _, moved = augment.detector_views(torch.rand(4, 3, 50, 50), boxes, 40, rng())
    assert bool(moved.isnan().all())


def test_strips_beside_the_cervix_hold_none_of_it() -> None:
    pixels = torch.full((1, 60, 60, 3), 40, dtype=torch.uint8).numpy()
    pixels[0, 10:50, 30:50] = 250
    canvases = Canvases(pixels, torch.tensor([[30.0, 10, 50, 50]]).numpy())
    strips = background_strips(canvases)
    assert len(strips) == 1
    assert strips.max() == 40


def test_views_that_the_recipe_wants_cropped_are_so_of_frames_too() -> None:
    """Dark above and light below: the paper's views turn by 15 degrees at most, the default's all the way round."""
    frames = np.zeros((64, 40, 40, 3), np.uint8)
    frames[:, 20:] = 255
    targets, chosen = np.zeros(64, np.int64), torch.arange(64)
    plain = ResNeStRecipe(size=32, synthetic_green=0, synthetic_iodine=0)
    upside_down = {}
    for views in ("cropped", "turned"):
        images, _ = batch_of(frames, targets, chosen, 32, replace(plain, views=views), rng(), of_frames=True)
        upside_down[views] = int((images[:, :, :8].mean((1, 2, 3)) > images[:, :, -8:].mean((1, 2, 3)) + 0.05).sum())
    assert upside_down["cropped"] == 0
    assert upside_down["turned"] > 16


def test_a_share_of_the_pictures_has_been_a_jpeg(images: torch.Tensor) -> None:
    many = images.repeat(40, 1, 1, 1)
    out = augment.recompress(many, 0.25, rng())
    changed = (out != many).flatten(1).any(1)
    assert 0.18 < float(changed.float().mean()) < 0.32
    # Noise is what JPEG keeps least of
    assert float((out[changed] - many[changed]).abs().mean()) > 0.05
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert torch.equal(out, augment.recompress(many, 0.25, rng()))


def test_without_jpeg_nothing_is_drawn(images: torch.Tensor) -> None:
    """A recipe without it goes on with the pictures that it had before there was JPEG."""
    used = rng()
    assert augment.recompress(images, 0.0, used) is images
    assert torch.equal(used.get_state(), rng().get_state())


def test_the_lower_the_quality_the_less_is_left_of_a_picture() -> None:
    grey = torch.randint(0, 256, (64, 64, 1), generator=rng(), dtype=torch.uint8).repeat(1, 1, 3).numpy()
    lost = [float(np.abs(as_jpeg(grey, quality).astype(int) - grey).mean()) for quality in (95, 60, 30)]
    assert lost == sorted(lost)
    assert lost[0] < 0.3 * lost[2]


@pytest.mark.parametrize("views", ["turned", "cropped"])
@pytest.mark.parametrize("of_frames", [False, True])
def test_crops_and_frames_are_compressed_as_the_recipe_says(views: str, of_frames: bool) -> None:
    pixels = torch.randint(0, 256, (64, 40, 40, 3), generator=rng(), dtype=torch.uint8).numpy()
    targets, chosen = np.zeros(64, np.int64), torch.arange(64)
    made = {}
    for jpeg in (0.0, 0.5):
        recipe = ResNeStRecipe(size=32, views=views, jpeg=jpeg)
        made[jpeg], classes = batch_of(pixels, targets, chosen, 32, recipe, rng(), of_frames=of_frames)
        assert torch.equal(made[jpeg], batch_of(pixels, targets, chosen, 32, recipe, rng(), of_frames=of_frames)[0])
    assert 12 < int((made[0.0] != made[0.5]).flatten(1).any(1).sum()) < 52
    assert set(classes.tolist()) == {0, 1, 2}


def test_the_default_compresses_and_the_papers_does_not() -> None:
    assert PRESETS["default"].resnest.jpeg == PRESETS["small"].resnest.jpeg == ResNeStRecipe().jpeg > 0
    assert PAPER_RESNEST_224.jpeg == PAPER_RESNEST_32.jpeg == PRESETS["paper"].resnest.jpeg == 0
