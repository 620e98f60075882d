"""What a candidate and the champion differ by, on the candidate's page and beside the gate's checks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from portal.core.errors import BadInput
from portal.learning import selectors
from portal.learning.promotions import request_promotion
from portal.ml import Compared, EvaluationReport
from portal.web import differences, drawings
from tests.cast import Cast, make_version
from tests.portal.learning.conftest import Stage
from tests.portal.learning.reports import full, report

TOLD = "This model minus the champion"


def _page(cast: Cast, stage: Stage, version: Any = None) -> str:
    response = cast.client(cast.max).get(f"/models/{(version or stage.candidate).pk}/")
    assert response.status_code == 200
    return re.sub(r"\s+", " ", response.content.decode())


def _answering(right: bool) -> EvaluationReport:
    """Everything is named right, or one regular image in two is taken for green and goes to review."""
    made = full()
    rows = [dict(row) for row in made.images]
    for number, row in enumerate(rows):
        wrong = not right and row["kind"] == "regular" and number % 8 < 4
        row["answer"] = "green_filter" if wrong else row["kind"]
        row["p_non_regular"] = 0.7 if wrong else 0.05 if row["kind"] == "regular" else 0.95
        row["route"] = "review" if wrong else "auto_regular" if row["kind"] == "regular" else "auto_non_regular"
    return replace(made, images=tuple(rows))


def _rows(page: str) -> dict[str, str]:
    section = page.partition('id="differences"')[2].partition("</section>")[0]
    found = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', section)
    return {name: re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", cells)).strip() for name, cells in found}


def test_a_candidates_page_tells_each_difference_with_its_interval_and_counts(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion, _answering(right=False))
    stage.evaluate(stage.candidate, _answering(right=True))
    page = _page(cast, stage)
    assert f"<h2>{TOLD}</h2>" in page
    rows = _rows(page)
    assert list(rows) == [
        "AUROC", "sensitivity", "specificity", "accuracy", "F1", "sensitivity at 98% specificity", "sensitivity at 99% specificity",
        "missed unseen", "sent to review",
    ]  # fmt: skip
    assert re.fullmatch(r"0\.500 1\.000 \+0\.500 \+0\.\d+ to \+0\.\d+ \(80 images, 40 patients\) better", rows["specificity"])
    assert re.fullmatch(r"0\.250 0\.000 -0\.250 -0\.\d+ to -0\.\d+ \(160 images, 80 patients\) better", rows["sent to review"])
    assert rows["sensitivity"] == "1.000 1.000 +0.000 +0.000 to +0.000 (80 images, 40 patients) cannot be told apart"
    assert 'class="zero"' in page
    assert re.search(r"style=|onclick=", page) is None
    assert re.search(r"specificity: \+0\.500 \[\+0\.\d+, \+0\.\d+\] \(80 images, 40 patients\): surely higher", page)


def test_the_gate_tells_it_beside_its_checks_and_so_does_what_was_asked_for(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion, _answering(right=True))
    stage.evaluate(stage.candidate, _answering(right=False))
    page = _page(cast, stage)
    gate = page.partition("The gate says")[2].partition("</table>")[0]
    assert "Difference to the champion on the same images" in gate
    assert re.search(r"-0\.500 \[-0\.\d+, -0\.\d+\] \(80 images, 40 patients\): surely lower than the champion", gate)
    # By the champion's own interval it would pass: both reports say the same of the whole
    assert gate.count("But on the same images it is surely worse.") == gate.count("surely lower than the champion") > 0
    assert _rows(page)["specificity"].endswith("worse")
    with pytest.raises(BadInput, match="The gate says no"):
        request_promotion(version=stage.candidate, actor=cast.max)
    asked = request_promotion(version=stage.candidate, actor=cast.max, note="It is cheaper by far.")
    assert not asked.verdict["passed"]
    assert {check["status"] for check in asked.verdict["checks"] if not check["difference"]} == {"pass"}
    told = {check["name"]: check["difference"] for check in asked.verdict["checks"]}
    assert "surely lower" in told["specificity"]
    assert told["detector containment"] == ""


@pytest.mark.parametrize(
    ("champion", "why"),
    [
        (lambda made: replace(made, images=made.images[:-1]), "not over the same pictures"),
        (lambda made: replace(made, images=tuple({**row, "sha256": row["sha256"][::-1]} for row in made.images)), "not over the same"),
        (
            lambda made: replace(made, images=tuple({k: v for k, v in row.items() if k != "patient"} for row in made.images)),
            "A report of an older version does not tell whose each picture is",
        ),
    ],
)
def test_reports_that_cannot_be_compared_say_why_and_the_gate_speaks_all_the_same(
    cast: Cast, stage: Stage, champion: Any, why: str
) -> None:
    made = _answering(right=True)
    stage.evaluate(stage.champion, champion(made))
    stage.evaluate(stage.candidate, made)
    page = _page(cast, stage)
    assert "No difference can be told." in page
    assert why in page
    assert "The gate says" in page
    assert "surely worse" not in page
    assert _rows(page) == {}


def test_reports_without_single_answers_say_so(cast: Cast, stage: Stage) -> None:
    for version in (stage.champion, stage.candidate):
        stage.evaluate(version, report(images=()))
    assert "No difference can be told. The two reports do not tell what was answered to each picture." in _page(cast, stage)


def test_a_champion_without_a_report_on_the_data_set_is_said(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.candidate, _answering(right=True))
    assert "No difference can be told. The champion has no report of the test split of this data set." in _page(cast, stage)


def test_the_champions_own_page_and_a_first_model_have_nothing_to_differ_from(cast: Cast, stage: Stage) -> None:
    stage.evaluate(stage.champion, _answering(right=True))
    assert TOLD not in _page(cast, stage, stage.champion)
    type(stage.champion).objects.filter(pk=stage.champion.pk).update(state="retired")
    first = make_version(name="first")
    stage.evaluate(first, _answering(right=True))
    page = _page(cast, stage, first)
    assert TOLD not in page
    assert "The gate says" in page


def test_the_page_takes_the_same_number_of_queries_whatever_is_compared(
    cast: Cast, stage: Stage, django_assert_max_num_queries: Any
) -> None:
    stage.evaluate(stage.champion, _answering(right=False))
    for _ in range(3):
        stage.evaluate(make_version(), _answering(right=True))
    chosen = stage.evaluate(stage.candidate, _answering(right=True))
    with django_assert_max_num_queries(2):
        beside = selectors.beside_champion(chosen)
    assert beside.differences is not None
    assert len(beside.differences.rows) == 9
    client = cast.client(cast.max)
    with django_assert_max_num_queries(18):
        assert client.get(f"/models/{stage.candidate.pk}/").status_code == 200


def _one(name: str, difference: float, low: float, high: float) -> Compared:
    return Compared(name, 0.5, 0.5 + difference, difference, low, high, 80, 40)


def test_a_drawing_of_differences_lies_about_zero_and_reaches_as_far_as_it_must() -> None:
    drawn = drawings.differences("both", [_one("AUROC", 0.03, 0.01, 0.05), _one("F1", -0.01, -0.04, 0.02), _one("x", float("nan"), 0, 1)])
    assert drawn is not None
    assert [label for label, _ in drawn.ticks] == ["-0.05", "-0.025", "0", "+0.025", "+0.05"]
    assert drawn.zero == drawings.LEFT + drawings.WIDTH / 2
    first, second = (row.mine for row in drawn.rows)
    assert first is not None
    assert second is not None
    assert (first.high, second.x < drawn.zero < second.high) == (drawings.LEFT + drawings.WIDTH, True)
    assert [(row.label, row.head) for row in drawn.rows] == [("AUROC", True), ("F1", False)]
    assert drawings.differences("none", [_one("x", float("nan"), 0, 1)]) is None


def test_less_is_better_of_what_is_missed_and_nothing_is_said_of_one_patient() -> None:
    better, worse, alone = differences.rows(
        [_one("missed unseen", -0.02, -0.03, -0.01), _one("AUROC", -0.02, -0.03, -0.01), _one("AUROC", 1.0, 1.0, 1.0)]
    )
    assert [(row.said, row.badge) for row in (better, worse)] == [("better", "verdict-pass"), ("worse", "verdict-fail")]
    assert (alone.interval, alone.badge) == ("", "")
