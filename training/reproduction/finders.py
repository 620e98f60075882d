"""What the experiment's detectors find on the test pictures (METHODS 2): overlap, precision, recall by kind, false finds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, Kind
from training.answers import corners
from training.boxes import Detections
from training.manifest import Record
from training.reproduction.estimates import ESTIMATE, Bools, Estimate, Table, bootstrapped, numbers, share
from training.reproduction.experiment import Found
from training.reproduction.material import Look

OVERLAP, HALF, WITHIN, FOUND = "mean IoU where a box is known", "IoU of a half or more", "cervix within the crop", "found (score >= 0.5)"
AP50, AP50_95, FALSE = "AP50", "AP50:95", "found where there is no cervix"
TINTED = "IoU of a half or more, tinted copies"
"""Of regular pictures with a known box, shown as through a green filter: few green pictures have boxes."""


def detector_table(found: Sequence[Found], rounds: int) -> Table:
    """One figure a line, with both intervals; a dash where there is nothing to count."""
    rows: list[list[object]] = []
    lines: list[list[object]] = []
    for one in found:
        figures = detector_estimates(one, rounds)
        rows += [[one.run.method.name, one.run.preset, name, figure] for name, figure in figures.items()]
        lines += [[one.run.method.name, one.run.preset, name, *numbers(figure)] for name, figure in figures.items()]
    title = "The cervix detectors on the test pictures"
    return Table("Detectors", title, ["detector", "preset", "figure", "value, intervals"], rows, ["detector", *ESTIMATE], lines)


def detector_estimates(one: Found, rounds: int) -> dict[str, Estimate]:
    """Figures of one detector by name; what has nothing to count is an estimate over 0 images, whose value is NaN."""
    overlaps, patients = _overlaps(one.looks), [record.patient_key for record in one.records]
    boxed, known = ~np.isnan(overlaps), [row for row, overlap in enumerate(overlaps) if not np.isnan(overlap)]
    cervix = _where(one.records, lambda record: record.box is not None or record.kind in CLASSIFIED_KINDS)
    half, within = overlaps >= 0.5, np.array([bool(seen.contained) for seen in one.looks], dtype=bool)
    found = np.array([seen.crop is not None for seen in one.looks], dtype=bool)
    made = {
        OVERLAP: bootstrapped(lambda rows: float(overlaps[known][rows].mean()), [patients[row] for row in known], rounds),
        HALF: share(half, boxed, patients, rounds), WITHIN: share(within, boxed, patients, rounds),
        **_precision(one, rounds), FOUND: share(found, cervix, patients, rounds),
    }  # fmt: skip
    for kind in CLASSIFIED_KINDS:
        of = _where(one.records, lambda record, kind=kind: record.kind is kind)  # type: ignore[misc]
        made[f"{FOUND}, {kind.value}"] = share(found, of, patients, rounds)
        made[f"{HALF}, {kind.value}"] = share(half, of & boxed, patients, rounds)
    copies = _overlaps(one.tinted)
    of_copies = [record.patient_key for record in one.tinted_records]
    made[TINTED] = share(copies >= 0.5, np.ones(len(copies), dtype=bool), of_copies, rounds)
    made[FALSE] = share(found, ~cervix, patients, rounds)
    return made


def _precision(one: Found, rounds: int) -> dict[str, Estimate]:
    """Average precision over all pictures with a known box and those without a cervix, by all boxes that the detector gave."""
    rows = [row for row, record in enumerate(one.records) if record.box is not None or record.kind is Kind.NOT_CERVIX]
    truths = [corners(box) if (box := one.records[row].box) else None for row in rows]
    if not any(truths):
        return {}
    table = Detections.of([one.looks[row].boxes for row in rows], truths)
    patients = [one.records[row].patient_key for row in rows]
    return {
        AP50: bootstrapped(lambda drawn: float(table.average_precision(drawn)[0]), patients, rounds),
        AP50_95: bootstrapped(lambda drawn: float(table.average_precision(drawn).mean()), patients, rounds),
    }


def _overlaps(looks: Sequence[Look]) -> NDArray[np.float64]:
    """(N,) of the best box with the true one; NaN where that is not known."""
    return np.array([np.nan if seen.iou is None else seen.iou for seen in looks], dtype=np.float64)


def _where(records: Sequence[Record], holds: Callable[[Record], bool]) -> Bools:
    return np.array([holds(record) for record in records], dtype=bool)
