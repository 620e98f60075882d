"""The detectors' table of the paper's experiment, by hand: both intervals, and patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inference.types import Box, DetectorState, Kind
from training.config import DetectorRecipe
from training.manifest import Record
from training.methods import METHODS
from training.metrics import wilson
from training.reproduction.experiment import Found, Run
from training.reproduction.material import Look
from training.reproduction.tables import FOUND, HALF, OVERLAP, WITHIN, detector_estimates, detector_table

BOX = Box(0, 0, 10, 10, 0.9)


def record(patient: str, number: int) -> Record:
    return Record(Path("none"), f"{patient}-{number}", Kind.REGULAR, "consensus", patient, "", "north", "d", "test", BOX)


def look(iou: float | None, *, found: bool = True) -> Look:
    state = DetectorState.FOUND if found else DetectorState.NONE
    return Look(state, BOX if found else None, iou, None if iou is None else iou > 0.6)


@pytest.fixture
def seen() -> Found:
    """Ten patients of four like images: eight of them overlap by 0.8, one by 0.4; of the last no box is known, and nothing is found."""
    looks = [look(None if n == 9 else 0.4 if n == 8 else 0.8, found=n < 9) for n in range(10) for _ in range(4)]
    records = tuple(record(f"P{n // 4}", n) for n in range(40))
    return Found(Run(METHODS["retinanet_lite"], "default", DetectorRecipe()), records, tuple(looks), 0.7, 1.0)


def test_every_figure_has_its_intervals_and_its_patients(seen: Found) -> None:
    made = detector_estimates(seen, 1000)
    assert list(made) == [OVERLAP, HALF, WITHIN, FOUND]
    assert (made[HALF].total, made[HALF].patients, made[FOUND].total, made[FOUND].patients) == (36, 9, 40, 10)
    counted = made[HALF].wilson
    assert counted == wilson(32, 36, 9)
    # Four of 36 images are one patient of nine: 6 to 9 right of 9
    assert (made[HALF].low, made[HALF].high) == pytest.approx((6 / 9, 1.0), abs=0.07)
    assert made[HALF].low < counted.low
    overlap = made[OVERLAP]
    assert overlap.value == pytest.approx((8 * 0.8 + 0.4) / 9)
    assert (overlap.wilson, overlap.total, overlap.patients) == (None, 36, 9)
    assert overlap.low < overlap.value < overlap.high


def test_the_table_says_them_for_people_and_for_machines(seen: Found) -> None:
    table = detector_table([seen], 200)
    cells = [str(cell) for cell in table.rows[0]]
    assert cells[2].startswith("0.756, by patient [")
    assert cells[2].endswith("(36 images, 9 patients)")
    assert cells[3].startswith("0.889 [0.747, 0.956], by patient [")
    assert cells[3].endswith("(32/36, 9 patients)")
    headers, lines = table.for_machines()
    assert [dict(zip(headers, line, strict=True))["figure"] for line in lines] == [OVERLAP, HALF, WITHIN, FOUND]
    assert [line[-3:] for line in lines] == [["", 36, 9], [32, 36, 9], [32, 36, 9], [36, 40, 10]]


def test_without_a_known_box_there_is_a_dash_and_nothing_else(seen: Found) -> None:
    table = detector_table([replace(seen, looks=tuple(replace(one, iou=None, contained=None) for one in seen.looks))], 200)
    assert [str(cell) for cell in table.rows[0][2:5]] == ["–"] * 3
    _, lines = table.for_machines()
    assert [line[3:] for line in lines[:3]] == [["", "", "", "", "", 0, 0, 0]] * 3
    assert lines[3][-1] == 10
