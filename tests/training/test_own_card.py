"""The card that every training leaves: all of it from bundle.json, nothing by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.types import Kind
from tests.inference.toys import about as toy_about
from training import own_card
from training.manifest import Record, Snapshot, counts
from training.metrics import auroc, wilson
from training.own_figures import NAME, Said, measure

REGULAR, GREEN, IODINE = Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE


def record(kind: Kind, split: str, *, site: str = "north", patient: str = "P1", provenance: str = "consensus") -> Record:
    return Record(Path("none"), f"{site}{patient}{kind}{split}", kind, provenance, patient, patient, site, "d", split, None)


RECORDS = (
    record(REGULAR, "train"), record(GREEN, "train"), record(IODINE, "train", patient="P2", provenance="automatic"),
    record(REGULAR, "train", site="river"), record(REGULAR, "validation", patient="P3"), record(GREEN, "validation", patient="P3"),
    record(REGULAR, "test", site="far"),
)  # fmt: skip


def said(**changes: Any) -> dict[str, Any]:
    interval = {"value": 0.9, "low": 0.8, "high": 0.95, "hits": 18, "total": 20, "patients": 7, "patient_low": 0.7, "patient_high": 0.97}
    return {
        **toy_about(), "preset": "default", "snapshot_name": "autumn", "trained_parts": ["resnest", "deep_sad"],
        "methods": ["timm:resnet18:small"], "start": "a" * 64, "weights_from": "b" * 64, "start_sources": ["iarc-via"],
        "begins": {"detector": "kept from bundle aaaaaaaaaaaa", "resnest": "random weights", "deep_sad": "weights of bundle bbbbbbbbbbbb"},
        "recipes": {"resnest": {"epochs": 5, "batch": 32, "lr": 0.001}}, "calibrated_devices": ["koppa | 3"],
        "data": own_card.data_of(Snapshot(Path("none"), "autumn", "s", RECORDS)),
        "metrics": {"refit": {"calibration": {"images": 20.0, "patients": 7.0, "non_regular": 9.0}, NAME: {"sensitivity": interval}}},
        **changes,
    }  # fmt: skip


def test_a_card_tells_what_was_known_when_it_was_trained() -> None:
    card = own_card.text(said(), "c" * 64)
    for told in (
        f"| bundle hash | `{'c' * 64}` |", "It says **nothing about disease**",
        "| detector | not trained |  | kept from bundle aaaaaaaaaaaa |",
        "| classifier | resnet18, by the recipe of ResNeSt, small | 5, 32 at a time, rate 0.001 | random weights |",
        "| Deep SAD | as preset default has it | not told | weights of bundle bbbbbbbbbbbb |",
        f"What was not trained is of bundle `{'a' * 64}`.", f"Start weights are of bundle `{'b' * 64}`.",
        "These bundles learned from: iarc-via.",
        "7 images of 5 patients: train 4 images of 3 patients; validation 2 images of 1 patient; calibration none; test 1 image of",
        "By site: far 1 image of 1 patient; north 5 images of 3 patients; river 1 image of 1 patient.",
        "Labels by provenance: automatic 1 image of 1 patient; consensus 6 images of 4 patients.",
        "| north | regular | 1 (1) | 1 (1) |  |  |", "Regular without review below 0.1, non-regular without review above 0.9.",
        "Probabilities were fitted on 20 images of 7 patients, 9 of them non-regular",
        "calibrated on: koppa \\| 3.", "| sensitivity | 0.900 (0.800-0.950; by patient 0.700-0.970) | 18 of 20 images, 7 patients |",
        "so every figure here flatters.**", "- Counted over few images: sensitivity (20).", "- Not trained here: detector.",
        "- far stands in the test split alone: it was held out.",
        "- river has no picture of green filter, lugol iodine to learn from.",
        "- river has no non-regular picture in validation and calibration: its probabilities rest on other sites.",
    ):  # fmt: skip
        assert told in card, told
    assert "north has no" not in card


def test_a_bundle_that_tells_little_has_a_card_that_says_so() -> None:
    card = own_card.text(toy_about(), "c" * 64)
    assert "Images and patients: not told." in card
    assert "preset `not told`" in card
    assert "Figures with an interval: not told." in card
    assert "None" not in card


def test_a_name_cannot_break_the_tables() -> None:
    card = own_card.text(said(name="a\n# b", snapshot_name="x | y"), "c" * 64)
    assert card.startswith("# Model card: a # b\n")
    assert "`x \\| y`" in card


def test_counts_tell_a_patient_once() -> None:
    assert counts(RECORDS, "split") == [
        {"split": "test", "images": 1, "patients": 1}, {"split": "train", "images": 4, "patients": 3},
        {"split": "validation", "images": 2, "patients": 1},
    ]  # fmt: skip


def test_own_figures_by_hand() -> None:
    """Five pictures of three patients: one green picture is missed, one iodine picture is taken for green."""
    kinds, answers = [REGULAR, REGULAR, GREEN, GREEN, IODINE], [REGULAR, REGULAR, GREEN, REGULAR, GREEN]
    p = np.array([0.1, 0.4, 0.9, 0.3, 0.8])
    figures = measure(Said(kinds, answers, p, p, -p, np.array([0.8, math.nan, 0.4, math.nan, 0.6]), ["A", "B", "A", "B", "C"]))
    assert figures["auroc"].value == auroc(p, [False, False, True, True, True]) == pytest.approx(5 / 6)
    assert (figures["auroc"].hits, figures["auroc"].total, figures["auroc"].patients) == (3, 5, 3)
    assert figures["auroc of Deep SAD alone"].value == pytest.approx(1 / 6)
    assert (figures["sensitivity"].low, figures["sensitivity"].high) == (wilson(2, 3, 3).low, wilson(2, 3, 3).high)
    assert (figures["specificity"].value, figures["specificity"].total) == (1, 2)
    assert (figures["green_filter named right"].hits, figures["lugol_iodine named right"].hits) == (1, 0)
    box = figures["overlap of the box"]
    assert box.value == pytest.approx(0.6)
    assert (box.hits, box.total, box.patients) == (2, 3, 2)
    assert box.low <= box.value <= box.high
    bare = measure(Said(kinds, answers, p, p, p, np.full(5, math.nan), ["A"] * 5))
    assert "overlap of the box" not in bare
