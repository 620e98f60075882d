"""What trained networks must show on held-out patients before there is a bundle (METHODS 3)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from inference import bundle as bundles
from training.checks import healthy
from training.config import PRESETS
from training.types import TrainingRefused

Scores = NDArray[np.float64]
POSITIVE = np.arange(200) >= 100


def scores(area: float) -> Scores:
    """100 regular and 100 other images, so many pairs of which are in the right order."""
    above = np.full(100, round(area * 100))
    above[0] += round(area * 10_000) - above.sum()
    other = above + np.linspace(-0.9, -0.1, 100)
    return np.concatenate([np.arange(100.0), other])


@pytest.mark.parametrize("preset", ["small", "default", "paper"])
def test_a_deep_sad_below_0_95_is_refused_by_every_preset(preset: str) -> None:
    good = scores(0.96)
    healthy(good, good, POSITIVE, PRESETS[preset])
    with pytest.raises(TrainingRefused, match=r"Deep SAD reaches an AUROC of 0.940 on held-out patients; a bundle needs 0.95"):
        healthy(good, scores(0.94), POSITIVE, PRESETS[preset])


def test_the_classifier_has_a_floor_of_its_own() -> None:
    good = scores(0.96)
    healthy(scores(0.91), good, POSITIVE, PRESETS["default"])
    healthy(scores(0.76), good, POSITIVE, PRESETS["small"])
    with pytest.raises(TrainingRefused, match=r"ResNeSt reaches an AUROC of 0.890 on held-out patients; a bundle needs 0.90"):
        healthy(scores(0.89), good, POSITIVE, PRESETS["default"])


def test_few_distinct_scores_and_no_numbers_are_refused() -> None:
    good = scores(0.96)
    with pytest.raises(TrainingRefused, match="Deep SAD gives only 2% distinct scores: it collapsed"):
        healthy(good, np.repeat([0.1, 0.2, 0.3, 0.4], 50), POSITIVE, PRESETS["default"])
    with pytest.raises(TrainingRefused, match="ResNeSt gives scores that are no numbers"):
        healthy(np.where(good > 50, np.nan, good), good, POSITIVE, PRESETS["default"])


def test_the_shipped_bundle_is_healthy() -> None:
    about = json.loads((bundles.BASELINE / bundles.MANIFEST).read_text(encoding="utf-8"))
    said = about["metrics"]["validation"]["calibration"]
    assert min(said["resnest_auroc"], said["deep_sad_auroc"]) >= PRESETS["default"].health_auroc
