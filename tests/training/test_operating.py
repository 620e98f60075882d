"""Sensitivity at a fixed specificity, reading at a fixed missed share."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from tests.training.said import GREEN, IODINE, REGULAR, answer, many
from training import operating
from training.metrics import average_precision, by_patient, limit_at, precision_recall_points
from training.repeat import figures as repeatability


def _scores(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.random(n) < 0.4
    return np.round(rng.normal(truth * 1.5, 1.0), 1), truth


@pytest.mark.parametrize("specificity", [0.9, 0.98, 0.99, 1.0])
def test_the_limit_is_the_best_point_of_the_roc_at_that_specificity(specificity: float) -> None:
    scores, truth = _scores()
    rates = roc_curve(truth, scores, drop_intermediate=False)
    best = max(true for false, true, _ in zip(*rates, strict=True) if 1 - false >= specificity - 1e-12)
    assert (scores[truth] > limit_at(scores, truth, specificity)).mean() == pytest.approx(best)


def test_a_limit_needs_negatives() -> None:
    assert math.isnan(limit_at(np.array([1.0]), np.array([True]), 0.98))
    assert limit_at(np.array([1.0, 2.0]), np.array([False, False]), 0.0) == -math.inf


def test_precision_and_recall_are_those_of_scikit_learn() -> None:
    scores, truth = _scores()
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    mine = precision_recall_points(list(scores), list(truth))
    theirs = list(zip(recall[:-1][::-1], precision[:-1][::-1], thresholds[::-1], strict=True))
    assert np.allclose(mine, theirs[: len(mine)])
    assert mine[-1][0] == 1
    assert precision_recall_points([0.5], [False]) == []
    assert math.isnan(average_precision(np.array([0.5]), np.array([False])))


def test_points_are_of_all_sites_and_each_with_kinds_apart() -> None:
    answers = [answer(REGULAR, n / 100, patient=f"R{n}") for n in range(50)]
    answers += [answer(GREEN, p, patient=f"G{p}", green=g) for p, g in ((0.2, 0.3), (0.485, 0.35), (0.8, 0.6), (0.9, 0.6))]
    answers += [answer(IODINE, 0.95, patient="L1"), answer(REGULAR, 0.99, site="river", patient="R")]
    points = {(p.site, p.specificity): p for p in operating.points(answers)}
    # river has no positive, so no point of its own
    assert set(points) == {(site, s) for site in ("", "north") for s in (0.98, 0.99)}
    north = points["north", 0.98]
    assert (north.reached.hits, north.reached.total) == (49, 50)
    assert (north.sensitivity.hits, north.sensitivity.total, north.sensitivity.patients) == (4, 5, 5)
    assert (north.per_kind["green_filter"].hits, north.per_kind["green_filter"].total) == (3, 4)
    assert (north.per_kind["faint_green"].hits, north.per_kind["faint_green"].total) == (1, 2)
    assert north.per_kind["lugol_iodine"].value == 1
    assert points["north", 0.99].sensitivity.hits == 3
    assert north.sensitivity.low <= north.sensitivity.value <= north.sensitivity.high


def test_the_interval_knows_that_images_of_one_patient_go_together() -> None:
    apart = [answer(REGULAR, 0.1 * (n % 5), patient=f"R{n}") for n in range(20)]
    alone = [answer(GREEN, 0.9 if n % 2 else 0.2, patient=f"G{n}", number=n) for n in range(20)]
    copies = [answer(GREEN, 0.9 if n % 2 else 0.2, patient=f"G{n % 4}", number=n) for n in range(20)]
    one, other = (operating.points([*apart, *some])[0].sensitivity for some in (alone, copies))
    assert one.value == other.value
    assert other.high - other.low > one.high - one.low


def test_more_is_read_the_less_may_be_missed() -> None:
    answers = many(60)
    points = operating.review_points(answers, 0.9)
    assert [p.missed for p in points] == [0.0, 0.01, 0.02, 0.05]
    assert points[0].seen.hits == 0
    for point in points:
        assert point.seen.value <= point.missed
        assert point.review.low <= point.review.value <= point.review.high
    reviews = [p.review.value for p in points]
    assert reviews == sorted(reviews, reverse=True)
    assert reviews[0] > reviews[-1]


def test_reading_at_a_missed_share_by_hand() -> None:
    """Of 4 non-regular, the lowest is always read for another reason. None may pass: the limit is the second lowest."""
    answers = [answer(GREEN, p, patient=str(p), reasons=r) for p, r in ((0.01, ("detector_low",)), (0.2, ()), (0.5, ()), (0.95, ()))]
    answers += [answer(REGULAR, p, patient=str(p)) for p in (0.05, 0.15, 0.3, 0.92)]
    point = operating.review_points(answers, 0.9)[0]
    assert point.threshold == 0.2
    # 0.01 (low detection), 0.2, 0.5 and the regular 0.3
    assert (point.review.hits, point.review.total) == (4, 8)
    assert operating.review_points([a for a in answers if not a.positive], 0.9) == ()


def test_repeatability_counts_every_exam_and_kind_once() -> None:
    answers = [answer(REGULAR, p, patient="A", number=n) for n, p in enumerate((0.1, 0.2, 0.9))]
    answers += [answer(GREEN, p, patient="A", number=n) for n, p in enumerate((0.8, 0.8))]
    answers += [answer(GREEN, 0.1, patient="B"), answer(REGULAR, 0.1, patient="C", exam="1"), answer(REGULAR, 0.9, patient="C", exam="2")]
    figures = repeatability(answers)
    # In the first group one of three pairs agrees, in the second the only one
    assert figures["same_answer"].value == pytest.approx((1 / 3 + 1) / 2)
    assert figures["difference"].value == pytest.approx((1.6 / 3 + 0) / 2)
    assert (figures["same_answer"].total, figures["same_answer"].patients) == (5, 1)
    assert repeatability(answers[-3:]) == {}


def test_drawn_patients_bring_all_their_rows() -> None:
    patients = ["a", "b", "a", "c", "b", "a"]
    seen: list[list[int]] = []

    def figure(rows: np.ndarray) -> float:
        seen.append(sorted(int(row) for row in rows))
        return float(len(rows))

    by_patient(figure, patients, rounds=50)
    for rows in seen:
        for members in ([0, 2, 5], [1, 4], [3]):
            assert len({rows.count(row) for row in members}) == 1
        assert sum(rows.count(row) for row in (0, 1, 3)) == 3
