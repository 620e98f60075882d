"""The gate's truth table."""

import json
from dataclasses import replace

import pytest

from portal.learning.gate import FAIL, PASS, Rules, Verdict, judge
from portal.learning.reports import from_json, to_json
from portal.ml import Interval
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


def test_a_report_survives_the_way_through_json() -> None:
    made = report()
    back = from_json(json.loads(json.dumps(to_json(made), allow_nan=False)))
    assert back == made
    unknown = with_figures(made, sensitivity=NOTHING)
    assert from_json(to_json(unknown)).figures["sensitivity"].total == 0
