"""The gate's truth table."""

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from portal.learning.gate import FAIL, PASS, Rules, Verdict, difference, judge
from portal.learning.reports import from_json, to_json
from portal.ml import Bin, Calibration, Compared, Cost, Interval, OperatingPoint, ReviewPoint
from tests.portal.learning.reports import NOTHING, figure, report, with_figures


def _status(verdict: Verdict, name: str) -> str:
    return next(check.status for check in verdict.checks if check.name == name)


def test_the_same_figures_pass() -> None:
    verdict = judge(report(), report())
    assert verdict.passed
    assert {check.name for check in verdict.checks} == {
        "sensitivity", "specificity", "detector containment", "missed unseen", "floor at north",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
@pytest.mark.parametrize(("value", "status"), [(0.95, PASS), (0.86, PASS), (0.85, PASS), (0.84, FAIL), (0.0, FAIL)])
def test_a_figure_may_fall_within_the_champions_interval_and_not_below(name: str, value: float, status: str) -> None:
    verdict = judge(with_figures(report(), **{name: figure(value)}), report())
    assert _status(verdict, name) == status
    assert verdict.passed == (status == PASS)


@pytest.mark.parametrize(("value", "status"), [(0.9, PASS), (0.85, PASS), (0.8, FAIL)])
def test_the_detector_must_hold_the_cervix_as_well(value: float, status: str) -> None:
    candidate = replace(report(), detector={"containment": figure(value)})
    assert _status(judge(candidate, report()), "detector containment") == status


def test_a_detector_that_is_not_measured_any_more_fails() -> None:
    assert _status(judge(replace(report(), detector={}), report()), "detector containment") == FAIL


@pytest.mark.parametrize(("value", "status"), [(0.0, PASS), (0.06, PASS), (0.1, FAIL)])
def test_no_more_may_be_missed_unseen(value: float, status: str) -> None:
    assert _status(judge(replace(report(), missed_unseen=figure(value)), report()), "missed unseen") == status


@pytest.mark.parametrize(("high", "status"), [(0.9, PASS), (0.8, PASS), (0.79, FAIL)])
def test_a_site_fails_when_it_is_surely_below_the_floor(high: float, status: str) -> None:
    candidate = replace(report(), per_site={"north": {"sensitivity": figure(0.6, low=0.4, high=high)}})
    assert _status(judge(candidate, report(), Rules(site_floor=0.8)), "floor at north") == status


def test_a_site_without_positives_has_no_floor() -> None:
    candidate = replace(report(), per_site={"north": {"sensitivity": NOTHING}})
    assert "floor at north" not in {check.name for check in judge(candidate, report()).checks}


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_figure_that_cannot_be_told_fails(name: str) -> None:
    verdict = judge(with_figures(report(), **{name: NOTHING}), with_figures(report(), **{name: NOTHING}))
    assert _status(verdict, name) == FAIL


def test_reports_of_different_data_are_not_compared() -> None:
    verdict = judge(report(), replace(report(), snapshot_hash="t" * 64))
    assert not verdict.passed
    assert "different data" in verdict.checks[0].reason


def test_without_a_champion_the_figures_stand_alone() -> None:
    assert judge(report(), None).passed


def test_reasons_carry_numbers_images_and_patients_and_say_what_is_weak() -> None:
    few = Interval(0.5, 0.1, 0.9, 3, 6, 4)
    reason = next(c.reason for c in judge(with_figures(report(), sensitivity=few), report()).checks if c.name == "sensitivity")
    expected = (
        "0.500 [0.100, 0.900] (6 images, 4 patients) is below the interval of the champion's "
        "0.900 [0.850, 0.950] (100 images, 40 patients). Weak: only 6 images."
    )
    assert reason == expected


WORKED = figure(0.9, low=0.851, high=0.934, total=200, drawn=(0.8, 0.975))
"""40 patients of 5 like images each, 180 of 200 right."""


@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
@pytest.mark.parametrize(("value", "status"), [(0.86, PASS), (0.84, PASS), (0.8, PASS), (0.79, FAIL)])
def test_images_of_one_patient_are_alike_so_the_wider_interval_decides(name: str, value: float, status: str) -> None:
    """Wilson's alone, which begins at 0.851, would fail 0.84 and 0.80."""
    old = with_figures(report(), **{name: WORKED})
    check = next(c for c in judge(with_figures(report(), **{name: figure(value)}), old).checks if c.name == name)
    assert check.status == status
    assert "the champion's 0.900 [0.851, 0.934; by patient 0.800, 0.975] (200 images, 40 patients)." in check.reason
    assert check.reason.endswith("The wider of its two intervals decides, 0.800 by patient.")


def test_where_wilsons_interval_is_the_wider_it_decides() -> None:
    old = with_figures(report(), sensitivity=replace(WORKED, patient_low=0.88, patient_high=0.92))
    check = next(c for c in judge(with_figures(report(), sensitivity=figure(0.86)), old).checks if c.name == "sensitivity")
    assert check.status == PASS
    assert check.reason.endswith("The wider of its two intervals decides, 0.851 by Wilson.")


@pytest.mark.parametrize(("drawn", "status"), [((0.0, 0.12), PASS), ((0.0, 0.08), FAIL), ((None, None), FAIL)])
def test_what_is_missed_unseen_is_held_to_the_wider_interval_too(
    drawn: tuple[float, float] | tuple[None, None], status: str
) -> None:  # fmt: skip
    old = replace(report(), missed_unseen=figure(0.02, low=0.0, high=0.07, drawn=drawn))
    assert _status(judge(replace(report(), missed_unseen=figure(0.1)), old), "missed unseen") == status


@pytest.mark.parametrize(("drawn", "status"), [((0.3, 0.85), PASS), ((0.3, 0.7), FAIL), ((None, None), FAIL)])
def test_a_site_is_surely_below_the_floor_only_by_both_intervals(drawn: tuple[float, float] | tuple[None, None], status: str) -> None:
    candidate = replace(report(), per_site={"north": {"sensitivity": figure(0.6, low=0.4, high=0.79, drawn=drawn)}})
    assert _status(judge(candidate, report(), Rules(site_floor=0.8)), "floor at north") == status


def test_a_report_stored_before_shares_were_resampled_is_read_and_judged_by_wilson() -> None:
    made = with_figures(report(), sensitivity=WORKED)
    stored = json.loads(json.dumps(to_json(made), allow_nan=False))
    assert from_json(stored) == made
    for name in ("patient_low", "patient_high"):
        del stored["figures"]["sensitivity"][name]
    older = from_json(stored)
    assert older.figures["sensitivity"] == replace(WORKED, patient_low=None, patient_high=None)
    verdict = judge(with_figures(report(), sensitivity=figure(0.84)), older)
    assert _status(verdict, "sensitivity") == FAIL
    assert "by patient" not in verdict.checks[0].reason


def _point(value: float, *, site: str = "", specificity: float = 0.98) -> OperatingPoint:
    return OperatingPoint(site, specificity, 0.4, figure(0.98), figure(value), {"green_filter": figure(value)})


@pytest.mark.parametrize(("value", "status"), [(0.9, PASS), (0.86, PASS), (0.84, FAIL)])
def test_no_less_may_be_found_at_the_champions_specificity(value: float, status: str) -> None:
    old = replace(report(), operating_points=(_point(0.9), _point(0.1, site="north")))
    candidate = replace(report(), operating_points=(_point(value), _point(0.0, site="north")))
    checks = [check for check in judge(candidate, old).checks if check.name.startswith("sensitivity at")]
    assert [(check.name, check.status) for check in checks] == [("sensitivity at 98% specificity", status)]


def test_what_the_champions_older_report_lacks_is_not_asked_for_and_what_it_has_is() -> None:
    with_points = replace(report(), operating_points=(_point(0.9),))
    assert judge(with_points, report()).passed
    assert _status(judge(report(), with_points), "sensitivity at 98% specificity") == FAIL


def _calibration(error: float, *, limit: float = 0.06, images: int = 100, site: str = "north") -> Calibration:
    return Calibration(site, error, limit, images, 40, 30, (Bin(0.1, 0.1, 0.0, 0.2, images),))


@pytest.mark.parametrize(
    ("error", "limit", "before", "status"),
    [(0.05, 0.01, 0.0, PASS), (0.08, 0.09, 0.0, PASS), (0.2, 0.06, 0.2, PASS), (0.2, 0.06, 0.19, FAIL), (0.2, 0.06, None, PASS)],
)
def test_probabilities_may_not_mean_less_than_the_champions(error: float, limit: float, before: float | None, status: str) -> None:
    """Good enough, as good as perfect ones would look, or no worse than before."""
    old = replace(report(), calibration=() if before is None else (_calibration(before),))
    candidate = replace(report(), calibration=(_calibration(error, limit=limit), _calibration(0.9, site="")))
    checks = {check.name: check for check in judge(candidate, old).checks if check.name.startswith("calibration")}
    assert set(checks) == {"calibration at north"}
    assert checks["calibration at north"].status == status
    assert "(100 images, 40 patients)" in checks["calibration at north"].reason


def test_too_few_images_say_nothing_of_calibration() -> None:
    candidate = replace(report(), calibration=(_calibration(0.5, images=29),))
    assert judge(candidate, replace(report(), calibration=(_calibration(0.0),))).passed


def test_a_report_survives_the_way_through_json() -> None:
    made = report()
    back = from_json(json.loads(json.dumps(to_json(made), allow_nan=False)))
    assert back == made
    unknown = with_figures(made, sensitivity=NOTHING)
    assert from_json(to_json(unknown)).figures["sensitivity"].total == 0


def test_the_newer_figures_survive_too_and_an_older_report_is_read_without_them() -> None:
    made = replace(
        report(), held_out=("river",), left_out={"river": {"images": 3, "auroc": {"value": 0.9}}}, site_auroc={"north": figure(0.9)},
        composition=({"split": "test", "site": "north", "kind": "regular", "images": 1, "patients": 1},),
        per_site_kind={"north": {"regular": figure(0.9)}}, faint_green_by_site={"north": figure(0.4)},
        operating_points=(_point(0.9), replace(_point(0.9), threshold=float("-inf"))), precision_recall=((0.5, 1.0, 0.7),),
        average_precision=figure(0.8), calibration=(_calibration(0.1),),
        review_points=(ReviewPoint(0.01, 0.2, figure(0.0), figure(0.3)),), repeatability={"same_answer": figure(0.9)},
        cost=Cost("cpu", 2, 32, 10, 1.0, 2.0, 3.0, 4.0, 500.0),
    )  # fmt: skip
    stored = json.loads(json.dumps(to_json(made), allow_nan=False))
    assert from_json(stored) == made
    older = {name: value for name, value in stored.items() if name in asdict(report()) and name not in NEWER}
    assert from_json(older) == report()


NEWER = {
    "held_out", "left_out", "composition", "per_site_kind", "site_auroc", "faint_green_by_site", "operating_points", "precision_recall",
    "average_precision", "calibration", "review_points", "repeatability", "cost",
}  # fmt: skip


def _compared(name: str, low: float, high: float, **changes: Any) -> Compared:
    middle = (low + high) / 2
    return replace(Compared(name, 0.9, 0.9 + middle, middle, low, high, 100, 40), **changes)


def test_the_difference_is_told_beside_its_check_and_fails_what_is_surely_worse() -> None:
    apart = [_compared("sensitivity", -0.06, -0.01), _compared("specificity", -0.02, 0.01), _compared("missed unseen", 0.01, 0.03)]
    plain, told = judge(report(), report()), judge(report(), report(), differences=apart)
    assert plain.passed
    assert [check.name for check in told.checks] == [check.name for check in plain.checks]
    failed = [check for check in told.checks if check.status == "fail"]
    assert [check.name for check in failed] == ["sensitivity", "missed unseen"]
    assert all(check.reason.endswith(" But on the same images it is surely worse.") for check in failed)
    better = [_compared("sensitivity", 0.01, 0.06), _compared("missed unseen", -0.03, -0.01)]
    assert judge(report(), report(), differences=better).passed
    said = {check.name: check.difference for check in told.checks}
    assert said["sensitivity"] == "-0.035 [-0.060, -0.010] (100 images, 40 patients): surely lower than the champion's."
    assert said["specificity"] == (
        "-0.005 [-0.020, +0.010] (100 images, 40 patients): zero is not left out, so the two cannot be told apart."
    )
    assert said["missed unseen"].endswith("surely higher than the champion's.")
    assert said["detector containment"] == ""
    assert json.loads(json.dumps(told.as_json()))["checks"][0]["difference"] == said["sensitivity"]


def test_a_difference_without_an_interval_promises_none() -> None:
    assert "drawing them says nothing" in difference(_compared("sensitivity", 1.0, 1.0))
    assert difference(_compared("sensitivity", 0.0, 1.0, difference=math.nan)) == "It cannot be told (100 images, 40 patients)."
    assert "[+0.000, +0.000]" in difference(_compared("sensitivity", 0.0, 0.0))
