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
from training.reproduction.finders import (
    AP50,
    AP50_95,
    FALSE,
    FOUND,
    HALF,
    OVERLAP,
    TINTED,
    WITHIN,
    detector_estimates,
    detector_table,
)  # fmt: skip
from training.reproduction.material import Look

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


def test_kinds_stand_apart_and_so_do_false_finds_and_tinted_copies(seen: Found) -> None:
    """One picture of each kind, one of a hand, and the green copy of the regular one, which is missed."""
    kinds = (Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE, Kind.NOT_CERVIX)
    records = [replace(record(f"P{n}", n), kind=kind, box=None if kind is Kind.NOT_CERVIX else BOX) for n, kind in enumerate(kinds)]
    looks = [look(0.8), look(0.3), look(0.0, found=False), look(None)]
    looks = [replace(one, boxes=(one.box,) if one.box else ()) for one in looks]
    one = replace(seen, records=tuple(records), looks=tuple(looks), tinted_records=(records[0],), tinted=(look(0.1),))
    made = detector_estimates(one, 50)
    assert {name: (figure.value, figure.total) for name, figure in made.items() if figure.wilson} == {
        HALF: (1 / 3, 3), WITHIN: (1 / 3, 3), FOUND: (2 / 3, 3), FALSE: (1.0, 1), TINTED: (0.0, 1),
        f"{FOUND}, regular": (1.0, 1), f"{HALF}, regular": (1.0, 1),
        f"{FOUND}, green_filter": (1.0, 1), f"{HALF}, green_filter": (0.0, 1),
        f"{FOUND}, lugol_iodine": (0.0, 1), f"{HALF}, lugol_iodine": (0.0, 1),
    }  # fmt: skip
    # Two boxes of the same score lie where the true ones are, the third was not found, the fourth is false: by COCO's 101 recalls
    assert (made[AP50].value, made[AP50_95].value) == pytest.approx((67 / 101, 67 / 101))
    assert (made[AP50].total, made[AP50].patients) == (4, 4)


def test_the_table_says_them_for_people_and_for_machines(seen: Found) -> None:
    table = detector_table([seen], 200)
    cells = {str(row[2]): str(row[3]) for row in table.rows}
    assert cells[OVERLAP].startswith("0.756, by patient [")
    assert cells[OVERLAP].endswith("(36 images, 9 patients)")
    assert cells[HALF].startswith("0.889 [0.747, 0.956], by patient [")
    assert cells[HALF].endswith("(32/36, 9 patients)")
    assert cells[FALSE] == cells[TINTED] == "–"
    headers, lines = table.for_machines()
    told = {str(line[2]): list(line[-3:]) for line in lines}
    assert [headers[2], *(told[name] for name in (OVERLAP, HALF, WITHIN, FOUND))] == [
        "figure", ["", 36, 9], [32, 36, 9], [32, 36, 9], [36, 40, 10],
    ]  # fmt: skip


def test_without_a_known_box_there_is_a_dash_and_nothing_else(seen: Found) -> None:
    looks = tuple(replace(one, iou=None, contained=None) for one in seen.looks)
    records = tuple(replace(one, box=None) for one in seen.records)
    table = detector_table([replace(seen, looks=looks, records=records)], 200)
    cells = {str(row[2]): str(row[3]) for row in table.rows}
    assert [cells[name] for name in (OVERLAP, HALF, WITHIN)] == ["–"] * 3
    assert AP50 not in cells
    told = {str(line[2]): list(line[3:]) for line in table.for_machines()[1]}
    assert [told[name] for name in (OVERLAP, HALF, WITHIN)] == [["", "", "", "", "", 0, 0, 0]] * 3
    assert told[FOUND][-1] == 10
