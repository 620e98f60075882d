"""A report over exams: each image judged beside the others of its exam."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from inference.api import Analyzer
from inference.assessment import Assessor
from inference.context import describe
from inference.types import UNCALIBRATED, Kind, Route
from tests.inference.test_context import GREENISH, PINK, assessor
from tests.training.said import GREEN, REGULAR, answer
from training import answers
from training.answers import Answer, beside_others, judge_all
from training.manifest import AUTOMATIC, Record


def photographed(given: Answer, pixels: np.ndarray = PINK) -> Answer:
    p = given.analysis.p_non_regular
    shares = {"regular": 1 - p, "green_filter": 0.8 * p, "lugol_iodine": 0.2 * p}
    return replace(given, analysis=replace(given.analysis, colour=describe(pixels, pixels), probabilities=shares))


def test_a_faint_filter_is_found_beside_the_exams_own_images_and_no_others() -> None:
    exam = [photographed(answer(REGULAR, 0.05, number=n)) for n in range(2)]
    faint = photographed(answer(GREEN, 0.3), GREENISH)
    elsewhere = photographed(answer(GREEN, 0.3, patient="P2"), GREENISH)
    judged = beside_others(assessor(), [exam[0], elsewhere, faint, exam[1]])
    assert [one.said for one in judged] == [Kind.REGULAR, Kind.REGULAR, Kind.GREEN_FILTER, Kind.REGULAR]
    assert judged[2].p > 0.9
    assert judged[1].p == 0.3
    assert [one.record for one in judged] == [exam[0].record, elsewhere.record, faint.record, exam[1].record]


def test_a_bundle_that_compares_nothing_says_what_it_said() -> None:
    exam = [photographed(answer(REGULAR, 0.05)), photographed(answer(GREEN, 0.3), GREENISH)]
    judged = beside_others(assessor(None), exam)
    assert [(one.p, one.said, one.route) for one in judged] == [(one.p, one.said, one.route) for one in exam]


def test_images_that_nobody_labelled_are_compared_with_and_count_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the portal, where a doubtful image lies beside others that were accepted by themselves."""
    unread = [photographed(answer(REGULAR, 0.05, number=n)) for n in range(2)]
    unread = [replace(one, record=replace(one.record, provenance=AUTOMATIC)) for one in unread]
    faint, elsewhere = photographed(answer(GREEN, 0.3), GREENISH), photographed(answer(REGULAR, 0.05, patient="P2"))
    elsewhere = replace(elsewhere, record=replace(elsewhere.record, provenance=AUTOMATIC))
    given, analysed = [*unread, faint, elsewhere], []

    def answer_all(_: object, records: list[Record], *__: object) -> list[Answer]:
        analysed.extend(records)
        return [one for one in given if any(one.record is record for record in records)]

    monkeypatch.setattr(answers, "answer_all", answer_all)
    monkeypatch.setattr(Assessor, "of", lambda _: assessor())
    records, analyzer = [one.record for one in given], cast(Analyzer, SimpleNamespace(about={}))
    said = judge_all(analyzer, records, lambda record: record.measurable, 8, context=True)
    assert [(one.record is faint.record, one.said) for one in said] == [(True, Kind.GREEN_FILTER)]
    # Of an exam in which nothing counts nothing is analysed
    assert len(analysed) == 3
    # An installation may have all of a device read on which the bundle was not calibrated
    monkeypatch.setattr(Assessor, "of", lambda _: replace(assessor(), devices=frozenset()))
    unknown = judge_all(analyzer, records, lambda record: record.measurable, 8, context=True, known_devices_only=True)
    assert [(one.route, one.reasons[-1]) for one in unknown] == [(Route.REVIEW, UNCALIBRATED)]
    assert UNCALIBRATED not in said[0].reasons
    alone = judge_all(analyzer, records, lambda record: record.measurable, 8, context=False)
    assert [(one.p, one.said) for one in alone] == [(0.3, Kind.REGULAR)]
    assert len(analysed) == 7
