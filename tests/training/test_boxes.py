"""Average precision against pycocotools, and the detector's other figures."""

from __future__ import annotations

import numpy as np
import pytest

from inference.types import Box, DetectorState, Kind
from tests.training.said import GREEN, REGULAR, answer
from training.boxes import Detections, figures

COCO = [0.357405, 0.337568, 0.26802, 0.254535, 0.244105, 0.197211, 0.163668, 0.103763, 0.049896, 0.002263]
"""What pycocotools 2.0.11 (COCOeval, `bbox`, all areas, 100 detections) gave for `_scene`, 2026-11-24."""


def _scene() -> tuple[list[list[Box]], list[tuple[float, ...] | None]]:
    """60 images, six of them without a true box; up to three detections each, near, off and far."""
    rng = np.random.default_rng(3)
    found: list[list[Box]] = []
    truths: list[tuple[float, ...] | None] = []
    for n in range(60):
        x, y, w, h = rng.uniform(10, 60), rng.uniform(10, 60), rng.uniform(60, 120), rng.uniform(60, 120)
        boxes = []
        for _ in range(int(rng.integers(0, 4))):
            dx, dy, dw, dh = rng.normal(0, rng.choice([3, 15, 40]), 4)
            boxes.append(Box(x + dx, y + dy, x + w + dx + abs(dw), y + h + dy + abs(dh), float(rng.random())))
        found.append(boxes)
        truths.append(None if n % 10 == 9 else (x, y, x + w, y + h))
    return found, truths


def test_average_precision_is_that_of_pycocotools() -> None:
    mine = Detections.of(*_scene()).average_precision(np.arange(60))
    assert [round(float(value), 6) for value in mine] == COCO


def test_average_precision_by_hand() -> None:
    """Two true boxes; found at 0.9 one of them, at 0.8 nothing, at 0.7 the other: precision 1 up to recall 0.5, then 2/3."""
    table = Detections.of([[Box(0, 0, 10, 10, 0.9)], [Box(50, 50, 60, 60, 0.8), Box(0, 0, 10, 10, 0.7)]], [(0, 0, 10, 10)] * 2)
    assert table.average_precision(np.array([0, 1]))[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_second_box_on_the_same_cervix_is_wrong() -> None:
    twice = Detections.of([[Box(0, 0, 10, 10, 0.9), Box(0, 0, 10, 10, 0.95)], [Box(0, 0, 10, 10, 0.8)]], [(0, 0, 10, 10)] * 2)
    assert twice.average_precision(np.array([0, 1]))[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_an_image_drawn_twice_counts_twice() -> None:
    found, truths = _scene()
    doubled = Detections.of([*found, *found[:20]], [*truths, *truths[:20]]).average_precision(np.arange(80))
    drawn = Detections.of(found, truths).average_precision(np.concatenate([np.arange(60), np.arange(20)]))
    # Equal scores stand beside one another either way
    assert drawn == pytest.approx(doubled, abs=0.01)


def test_nothing_found_or_nothing_to_find() -> None:
    assert Detections.of([[], []], [(0, 0, 1, 1)] * 2).average_precision(np.arange(2))[0] == 0
    assert np.isnan(Detections.of([[Box(0, 0, 1, 1, 0.5)]], [None]).average_precision(np.arange(1))[0])


def test_the_figures_name_every_kind_and_count_false_finds() -> None:
    box = Box(10, 10, 90, 90, 0.9)
    answers = [answer(REGULAR, 0.1, patient=str(n), box=box, truth=box) for n in range(3)]
    answers += [answer(GREEN, 0.9, patient="G", box=None, truth=None, state=DetectorState.NONE), answer(Kind.NOT_CERVIX, 0.5, box=box)]
    made = figures(answers)
    assert made["found_green_filter"].value == 0
    assert (made["recall_regular"].hits, made["recall_regular"].total) == (3, 3)
    assert "recall_green_filter" not in made
    assert made["false_finds"].value == 1
    # The picture without a cervix has a box of the same score: among four detections three are right
    assert (made["ap50"].total, made["ap50"].hits) == (4, 3)
    assert 0.7 < made["ap50"].value <= 1
