"""Pictures spoilt on purpose, and drawings of anything but a cervix: by the seed alone, and as bad on every size of file."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference import quality
from training import degrade, scenes, synthetic
from training.tints import Pixels


@pytest.fixture(scope="module")
def cervix() -> Pixels:
    return synthetic.draw_scene(np.random.default_rng(8), kind="regular", style="north-clinic", size=(320, 240))[0]


@pytest.mark.parametrize("fault", degrade.FAULTS)
def test_the_same_seed_spoils_alike(cervix: Pixels, fault: str) -> None:
    one, two, other = (degrade.spoilt(cervix, fault, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == cervix.shape
    assert one.dtype == np.uint8
    assert (one == two).all()
    assert (one != other).any()


def test_a_point_out_of_focus_is_a_disc_of_the_radius_and_no_light_is_lost() -> None:
    dot = np.zeros((81, 101, 3), np.uint8)
    dot[40, 50] = 255
    disc = degrade.defocus(dot, 4 / 81)[..., 0]
    y, x = np.nonzero(disc)
    assert np.hypot(x - 50, y - 40).max() == pytest.approx(4, abs=0.5)
    lit = degrade.defocus(np.full((60, 80, 3), 170, np.uint8), 0.1)
    assert np.abs(lit.astype(int) - 170).max() <= 1


def test_a_shaken_point_is_a_line_at_the_angle() -> None:
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[50, 50] = 255
    y, x = np.nonzero(degrade.shaken(dot, 20 / 101, math.pi / 4)[..., 0])
    assert np.abs((x - 50) - (y - 50)).max() <= 1.5
    assert np.hypot(x - 50, y - 50).max() == pytest.approx(10, abs=1.2)


def test_a_stop_doubles_the_light_and_clips_at_white() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    up = degrade.exposed(grey, 1.0)[0, 0, 0]
    assert (up / 100) ** degrade.DISPLAY_GAMMA == pytest.approx(2, rel=0.02)
    assert degrade.exposed(grey, 6.0).min() == 255


def test_glare_burns_out_about_the_share_that_was_asked(cervix: Pixels) -> None:
    shares = []
    for seed in range(8):
        burnt = degrade.glaring(np.full_like(cervix, 90), 0.2, np.random.default_rng(seed)).min(axis=2) >= quality.WHITE
        shares.append(burnt.sum() / (math.pi / 4 * cervix.shape[0] ** 2))
    assert np.mean(shares) == pytest.approx(0.2, abs=0.06)


def test_drawings_without_a_cervix_are_of_every_sort_and_repeat_by_the_seed() -> None:
    drawn = list(scenes.draw(np.random.default_rng(4), 40))
    again = list(scenes.draw(np.random.default_rng(4), 40))
    assert len({sort for _, sort in drawn}) >= 8
    assert all((one == two).all() and sort == other for (one, sort), (two, other) in zip(drawn, again, strict=True))


@pytest.mark.parametrize("sort", scenes.SORTS)
def test_each_sort_differs_from_seed_to_seed(sort: str) -> None:
    first, second = (next(scenes.draw(np.random.default_rng(seed), 1, sorts=(sort,))) for seed in (5, 6))
    assert (first[1], second[1]) == (sort, sort)
    assert first[0].shape[2] == 3
    assert first[0].shape != second[0].shape or (first[0] != second[0]).any()
