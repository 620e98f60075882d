"""Shares with both intervals: Wilson's over images, and that of whole patients drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tests.training.said import GREEN, REGULAR, answer, report
from training import card, html, metrics
from training.answers import share
from training.evaluation import binary_figures
from training.metrics import by_patient, proportion
from training.report import digest, plain
from training.report_page import as_html
from training.runs import as_text, as_words
from training.types import EvaluationReport, Interval

WORKED = Interval(0.9, 0.8506, 0.9343, 180, 200, 40, 0.8, 0.975)


def alike(patients: int, each: int, wrong: int) -> tuple[list[bool], list[int]]:
    """Patients of `each` like images; all of `wrong` patients are wrong."""
    return [n // each >= wrong for n in range(patients * each)], [n // each for n in range(patients * each)]


def plainly(holds: Sequence[bool], patients: Sequence[int], *, rounds: int) -> tuple[float, float]:
    """One drawing after another, image by image, with another generator than `training.metrics` has."""
    own: dict[int, list[bool]] = {}
    for one, patient in zip(holds, patients, strict=True):
        own.setdefault(patient, []).append(one)
    chance, names, shares = random.Random(3), list(own), []
    for _ in range(rounds):
        images = [one for name in chance.choices(names, k=len(names)) for one in own[name]]
        shares.append(sum(images) / len(images))
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def test_forty_patients_of_five_like_images_are_forty_and_not_two_hundred() -> None:
    """180 of 200 right: Wilson takes 200 for independent; the patients say 0.800 to 0.975, which are 32 and 39 of 40 right."""
    holds, patients = alike(40, 5, wrong=4)
    found = proportion(holds, patients)
    assert (found.value, found.hits, found.total, found.patients) == (0.9, 180, 200, 40)
    assert (round(found.low, 3), round(found.high, 3)) == (0.851, 0.934)
    assert (found.patient_low, found.patient_high) == (0.8, 0.975)
    assert plainly(holds, patients, rounds=4000) == pytest.approx((0.8, 0.975))
    assert (found.least, found.most) == (0.8, 0.975)


def test_patients_of_unlike_numbers_of_images_are_drawn_as_a_plain_loop_draws_them() -> None:
    chance = random.Random(8)
    patients = [n for n in range(60) for _ in range(chance.randrange(1, 9))]
    leaning = [chance.random() ** 0.4 for _ in range(60)]
    holds = [chance.random() < leaning[n] for n in patients]
    found = proportion(holds, patients, rounds=4000)
    mine = found.patient_low, found.patient_high
    assert mine == pytest.approx(plainly(holds, patients, rounds=4000), abs=0.006)
    hit = np.array(holds)
    assert mine == pytest.approx(by_patient(lambda rows: float(hit[rows].mean()), patients, rounds=4000), abs=0.006)
    assert found.patient_low is not None
    assert found.least == found.patient_low < found.low


def test_one_image_a_patient_says_nearly_what_wilson_says() -> None:
    holds, patients = alike(200, 1, wrong=20)
    found = proportion(holds, patients)
    assert (found.patient_low, found.patient_high) == pytest.approx((found.low, found.high), abs=0.01)


@pytest.mark.parametrize(
    ("holds", "patients"),
    [
        ([True] * 6, [1, 1, 2, 2, 3, 3]),
        ([False] * 3, [1, 2, 3]),
        ([True, False] * 3, [1, 1, 2, 2, 3, 3]),
        ([True, False], [1, 1]),
        ([], []),
    ],
)
def test_wilsons_stands_alone_where_all_patients_are_alike(holds: list[bool], patients: list[int]) -> None:
    found = proportion(holds, patients)
    assert (found.patient_low, found.patient_high) == (None, None)
    assert (found.least, found.most) == (found.low, found.high)
    assert found.patients == len(set(patients))


def test_the_order_of_the_images_changes_nothing() -> None:
    holds, patients = alike(12, 3, wrong=2)
    mixed = sorted(zip(holds, patients, strict=True), key=lambda pair: (pair[1] * 7) % 12)
    assert proportion([h for h, _ in mixed], [p for _, p in mixed]) == proportion(holds, patients)


def test_a_pseudonym_at_two_sites_is_two_patients() -> None:
    found = share([answer(REGULAR, 0.1, site=site) for site in ("north", "river")], lambda a: a.record.site == "north")
    assert (found.patients, found.patient_low, found.patient_high) == (2, 0.0, 1.0)


# ---- where they are shown ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> EvaluationReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "ROUNDS", 60)
        return report()


def test_both_are_shown_wherever_an_interval_of_a_share_is_shown() -> None:
    assert html.interval(WORKED) == "0.900 [0.851, 0.934; by patient 0.800, 0.975] (200 images, 40 patients)"
    assert as_words(WORKED) == "0.900 (0.851-0.934; by patient 0.800-0.975; 180/200, 40 patients)"
    older = replace(WORKED, patient_low=None, patient_high=None)
    assert html.interval(older) == "0.900 [0.851, 0.934] (200 images, 40 patients)"
    assert as_words(older) == "0.900 (0.851-0.934; 180/200, 40 patients)"


def test_the_report_and_the_card_say_which_interval_is_which(made: EvaluationReport) -> None:
    specificity = made.figures["specificity"]
    assert specificity.patient_low is not None
    told = digest(asdict(made), "river")
    page = as_html(replace(made, left_out={"river": told}))
    assert page.count(html.interval(specificity)) >= 2, "also of the source left out"
    assert page.count("Of a share the first interval is Wilson") == 1
    assert "bootstrap over patients)" not in page
    text = as_text(made)
    assert as_words(specificity) in text
    assert text.count("whole patients drawn") == 1
    assert f"; by patient {specificity.patient_low:.3f}-{specificity.patient_high:.3f})" in card.table(plain(asdict(made)))


def _without(data: Any) -> Any:
    """As it was stored before shares were resampled by patient."""
    if isinstance(data, dict):
        return {name: _without(value) for name, value in data.items() if not name.startswith("patient_")}
    return [_without(one) for one in data] if isinstance(data, list) else data


def test_figures_of_an_older_sibling_are_shown_with_wilsons_alone(made: EvaluationReport) -> None:
    told = _without(digest(asdict(made), "river"))
    assert "patient_low" not in told["specificity"]
    page = as_html(replace(made, left_out={"river": told}))
    assert html.interval(replace(made.figures["specificity"], patient_low=None, patient_high=None)) in page
    assert "by patient" not in card.table(_without(plain(asdict(made))))


def test_every_share_of_a_report_has_both_or_is_of_patients_who_are_all_alike() -> None:
    answers = [answer(GREEN if n % 3 else REGULAR, 0.9 if n % 5 else 0.2, patient=f"P{n // 4}", number=n) for n in range(60)]
    for name, figure in binary_figures(answers).items():
        assert (figure.patient_low is None) == (name == "f1"), name
