"""Two bundles side by side: paired differences, by patient."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from training.comparison import FIGURES, ROUTED, _Answers, as_text, compare, sensitivity_at
from training.metrics import by_patient, wilson
from training.types import EvaluationReport, TrainingRefused


def _route(score: float) -> str:
    return "auto_regular" if score < 0.1 else "review" if score <= 0.9 else "auto_non_regular"


def report(scores: list[float], patients: list[str], kinds: list[str], **changes: Any) -> EvaluationReport:
    images = tuple(
        {"sha256": f"{n:04d}", "site": "s", "patient": patient, "kind": kind, "p_non_regular": score,
         "answer": "green_filter" if score > 0.5 else "regular", "route": _route(score)}
        for n, (score, patient, kind) in enumerate(zip(scores, patients, kinds, strict=True))
    )  # fmt: skip
    some = wilson(1, 2, 1)
    fields: dict[str, Any] = {
        "bundle_hash": "b" * 64, "snapshot_hash": "s", "split": "validation", "images_total": len(images), "patients_total": 1,
        "kinds": (), "figures": {}, "auroc": None, "confusion": (), "per_site": {}, "per_kind": {}, "faint_green": None, "roc": (),
        "box_plot": (), "review_rate": some, "missed_unseen": some, "detector": {}, "images": images,
    }  # fmt: skip
    return EvaluationReport(**{**fields, **changes})


@pytest.fixture
def cases() -> tuple[list[str], list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    rng = np.random.default_rng(0)
    kinds = ["regular", "regular", "green_filter", "lugol_iodine"] * 30
    truth = np.array([kind != "regular" for kind in kinds])
    return [f"P{n // 4}" for n in range(120)], kinds, np.clip(truth * 0.4 + rng.uniform(0, 0.6, 120), 0, 1)


def test_equal_bundles_do_not_differ(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    rows = compare(report(list(scores), patients, kinds), report(list(scores), patients, kinds))
    assert [(row.difference, row.low, row.high, row.differs) for row in rows] == [(0, 0, 0, False)] * len(rows)
    assert (rows[0].images, rows[0].patients) == (120, 30)


def test_a_better_bundle_differs(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    perfect = [0.9 if kind != "regular" else 0.1 for kind in kinds]
    one, other = report(list(scores), patients, kinds), report(perfect, patients, kinds)
    by_name = {row.name: row for row in compare(one, other)}
    assert by_name["AUROC"].other == 1
    assert by_name["AUROC"].differs
    assert by_name["sensitivity"].difference > 0
    assert by_name["AUROC"].low <= by_name["AUROC"].difference <= by_name["AUROC"].high
    assert "30 patients" in as_text(one, other, list(by_name.values()))


def test_pairing_narrows_the_interval(cases: tuple[list[str], list[str], Any]) -> None:
    """A bundle that is better by one image of 60 has a difference far surer than either figure."""
    patients, kinds, scores = cases
    better = scores.copy()
    better[int(np.flatnonzero([k != "regular" for k in kinds])[0])] = 0.99
    row = compare(report(list(scores), patients, kinds), report(list(better), patients, kinds))[0]
    assert row.high - row.low < 0.05


def test_other_pictures_cannot_be_compared(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    one = report(list(scores), patients, kinds)
    for other in (replace(one, snapshot_hash="t"), report(list(scores[:-1]), patients[:-1], kinds[:-1])):
        with pytest.raises(TrainingRefused, match="not over the same pictures"):
            compare(one, other)


def test_sensitivity_at_a_specificity_by_hand() -> None:
    """Of 100 regular images two may lie above: the threshold is the third highest, 0.97."""
    regular = np.arange(100) / 100
    scores = np.concatenate([regular, [0.965, 0.975, 0.99, 0.5]])
    truth = np.array([False] * 100 + [True] * 4)
    assert sensitivity_at(_Answers(scores, scores > 0.5, truth, scores < 0.1, scores < 0.9), 0.98) == 0.5


def test_figures_by_hand_are_counted_over_those_they_are_about() -> None:
    """Of two patients, regular, regular, green each: the other bundle finds one green image more, and reads one regular image less."""
    kinds, patients = ["regular", "regular", "green_filter"] * 2, ["A", "A", "A", "B", "B", "C"]
    one = report([0.05, 0.6, 0.95, 0.05, 0.05, 0.05], patients, kinds)
    other = report([0.05, 0.05, 0.95, 0.05, 0.05, 0.95], patients, kinds)
    rows = {row.name: row for row in compare(one, other)}
    assert list(rows) == list(FIGURES)
    counted = {name: (row.one, row.other, row.images, row.patients) for name, row in rows.items()}
    assert counted["sensitivity"] == (0.5, 1.0, 2, 2)
    assert counted["specificity"] == (0.75, 1.0, 4, 2)
    assert counted["accuracy"] == (4 / 6, 1.0, 6, 3)
    assert counted["missed unseen"] == (0.5, 0.0, 2, 2)
    assert counted["sent to review"] == (1 / 6, 0.0, 6, 3)
    assert rows["missed unseen"].difference == -0.5


def test_every_interval_is_that_of_the_figure_drawn_by_itself(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    moved = np.random.default_rng(1).permutation(scores)
    row = next(
        row for row in compare(report(list(scores), patients, kinds), report(list(moved), patients, kinds)) if row.name == "accuracy"
    )
    truth = np.array([kind != "regular" for kind in kinds])
    right = ((moved > 0.5) == truth).astype(float) - ((scores > 0.5) == truth)
    assert (row.low, row.high) == pytest.approx(by_patient(lambda rows: float(right[rows].mean()), patients))


def test_what_hangs_on_routes_is_not_compared_across_rules(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    one = report(list(scores), patients, kinds)
    assert [row.name for row in compare(one, replace(one, known_devices_only=True))] == [name for name in FIGURES if name not in ROUTED]


def test_one_patient_shows_no_difference_however_large() -> None:
    kinds = ["regular", "green_filter"] * 5
    one, other = report([0.4] * 10, ["A"] * 10, kinds), report([0.1, 0.9] * 5, ["A"] * 10, kinds)
    row = next(row for row in compare(one, other) if row.name == "sensitivity")
    assert (row.difference, row.low, row.high) == (1, 1, 1)
    assert (row.known, row.sure, row.differs) == (True, False, False)
    assert "differs" not in as_text(one, other, [row]).splitlines()[-1]


def test_a_class_that_is_missing_leaves_its_figures_unsaid() -> None:
    one = report([0.1, 0.2], ["A", "B"], ["regular"] * 2)
    rows = {row.name: row for row in compare(one, one)}
    assert [name for name, row in rows.items() if row.known] == ["specificity", "accuracy", "sent to review"]
    assert not rows["AUROC"].differs
    assert "cannot be told" in as_text(one, one, [rows["AUROC"]])


def test_reports_that_do_not_tell_of_each_picture_cannot_be_compared(cases: tuple[list[str], list[str], Any]) -> None:
    patients, kinds, scores = cases
    one = report(list(scores), patients, kinds)
    older = replace(one, images=tuple({name: value for name, value in row.items() if name != "route"} for row in one.images))
    with pytest.raises(TrainingRefused, match="older version"):
        compare(older, one)
    with pytest.raises(TrainingRefused, match="do not tell what was answered"):
        compare(replace(one, images=()), replace(one, images=()))
