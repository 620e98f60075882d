"""What comparing learns, and that it is left out where it does not help; calibration against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from inference.context import FEATURES, Context, Weights
from inference.fusion import bent
from training import calibrate, context, exams, novelty
from training.augment import Light
from training.context import Table


def clinic(device: str, *, wander: float, patients: int = 60, seed: int = 0) -> Table:
    """Each patient has tissue of its own colour, which hides the filter as long as images stand alone; `wander`: white balance."""
    rng = np.random.default_rng(seed)
    signals, targets, names = [], [], []
    for patient in range(patients):
        tissue = rng.normal(0, 0.5)
        for kind in (0, 0, 0, 1, 2):
            red = tissue + rng.normal(0, wander) - (0.4 if kind == 1 else 0.0)
            blue = rng.normal(0, wander) - (0.6 if kind == 2 else 0.0)
            odds = np.array([-red, -blue]) + rng.normal(0, 0.3, 2) - 1.0
            signals.append([*odds, red, blue, 0.0, red, blue, 0.0])
            targets.append(kind)
            names.append(f"{device}-{patient}")
    texts = exams.texts(names)
    return Table(np.array(signals), np.array(targets), texts, texts, exams.texts([device] * len(targets)), np.ones(len(targets)))


def directions(weights: Weights) -> list[float]:
    rows = np.array([weights.green[1:], weights.iodine[1:]])
    return [float(value) for value in (rows / np.linalg.norm(rows, axis=1, keepdims=True)).ravel()]


def nothing(like: Table) -> Table:
    return like.rows(np.zeros(0, dtype=np.int64))


def test_comparing_finds_what_the_tissue_hides() -> None:
    table = clinic("steady", wander=0.03)
    learned, figures = context.fit(table, nothing(table))
    assert learned.weights is not None
    assert learned.of("steady") == learned.of("never seen") == learned.weights
    assert figures["log_loss_beside"] < 0.5 * figures["log_loss_alone"]
    assert 50 <= figures["patients"] <= 60


def test_known_signs_are_kept() -> None:
    table = clinic("steady", wander=0.03)
    weights = context.fit(table, nothing(table))[0].weights
    assert weights is not None
    green, iodine = (dict(zip(FEATURES, row[1:], strict=True)) for row in (weights.green, weights.iodine))
    assert min(green["own"], green["own_minus_others"], -green["red_green"], -iodine["blue_green"]) >= 0
    assert green["red_green"] < -0.5


def test_how_sure_to_be_is_learned_on_real_exams_whatever_the_made_up_ones_hold() -> None:
    real = clinic("steady", wander=0.25)
    # Made-up exams with hardly any regular picture
    pool = clinic("steady", wander=0.25, seed=4, patients=300)
    stained = pool.rows((pool.targets > 0) | (np.arange(len(pool)) % 10 == 0))
    learned, _ = context.fit(real, stained)
    assert learned.weights is not None
    fresh, green, iodine = context.beside_others(clinic("steady", wander=0.25, seed=9, patients=200))
    p = context.p_of(context.log_odds(learned.weights, green, iodine))
    assert p.mean() == pytest.approx((fresh.targets > 0).mean(), abs=0.05)
    assert (fresh.targets[p > 0.8] > 0).mean() == pytest.approx(p[p > 0.8].mean(), abs=0.06)


def test_calibration_undoes_a_shift_and_a_scale() -> None:
    rng = np.random.default_rng(8)
    true = np.stack([rng.normal(0, 3, 20000), np.full(20000, -30.0)], axis=1)
    positive = rng.random(20000) < context.p_of(true)
    assert context.calibration(0.5 * true + 1.0, positive, positive.mean()) == pytest.approx((-2.0, 2.0), abs=0.1)
    # Where non-regular images are three times as likely as here, the same answer is worth more
    odds = positive.mean() / (1 - positive.mean())
    more = 3 * odds / (1 + 3 * odds)
    assert context.calibration(true, positive, more) == pytest.approx((np.log(3), 1.0), abs=0.1)


def test_a_device_on_which_it_does_not_help_is_left_out_and_teaches_the_others_nothing() -> None:
    steady = clinic("steady", wander=0.03)
    same = clinic("twins", wander=0.03, seed=1)
    # near-duplicates: every group is of one kind, but for a regular one that is as it likes
    twins = replace(
        same,
        signals=np.where(
            same.targets[:, None] > 0, same.signals * 0 + [8, 8, 0, 0, 0, 0, 0, 0], same.signals * 0 - [8, 8, 0, 0, 0, 0, 0, 0]
        ),
    )
    learned, figures = context.fit(context.joined([steady, twins]), nothing(steady))
    assert figures["twins: log loss common"] > figures["twins: log loss alone"] - context.GAIN
    assert learned.of("twins") is None
    assert learned.of("steady") is not None
    alone, _ = context.fit(steady, nothing(steady))
    ours, theirs = learned.of("steady"), alone.of("steady")
    assert ours is not None
    assert theirs is not None
    # the same direction: how sure to be is set on all real exams afterwards
    assert directions(ours) == pytest.approx(directions(theirs), abs=0.02)


def certain(device: str) -> Table:
    """Images that each answer for themselves, with hardly a doubt."""
    same = clinic(device, wander=0.03, seed=1)
    signs = np.where(same.targets > 0, 5.0, -6.0)[:, None]
    return replace(same, signals=np.concatenate([signs, signs, np.zeros((len(same), 6))], axis=1))


def test_what_helps_on_cameras_that_nobody_has_seen_is_kept_where_the_known_ones_lose_nothing() -> None:
    learned, figures = context.fit(certain("twins"), clinic("", wander=0.03))
    assert figures["real_log_loss_beside"] <= figures["real_log_loss_alone"] + context.GAIN
    assert learned.weights is not None
    # ... but on the known camera there is nothing to be gained
    assert learned.of("twins") is None


def test_where_known_cameras_would_lose_there_is_no_comparison() -> None:
    # Too few to teach much: colours wander there without meaning anything
    few = certain("twins").rows(np.arange(70))
    rng = np.random.default_rng(3)
    real = replace(few, signals=np.concatenate([few.signals[:, :2], rng.normal(0, 1.5, (70, 5)), few.signals[:, 7:]], axis=1))
    learned, figures = context.fit(real, clinic("", wander=0.03, patients=600))
    assert figures["log_loss_beside"] < figures["log_loss_alone"] - context.GAIN
    assert figures["real_log_loss_beside"] > figures["real_log_loss_alone"] + context.GAIN
    assert learned == Context(None, {})


def test_too_few_images_leave_it_switched_off() -> None:
    table = clinic("steady", wander=0.03, patients=4)
    assert context.fit(table, nothing(table))[0] == Context(None, {})


def test_groups_without_a_regular_image_do_not_teach() -> None:
    table = clinic("steady", wander=0.03, patients=3)
    stained = replace(table, targets=np.where(table.exams == "steady-1", 2, table.targets))
    weighed = context.teaching(stained)
    assert len(weighed) == len(stained)
    assert set(weighed.exams[weighed.weights > 0].tolist()) == {"steady-0", "steady-2"}


def test_groups_in_which_nothing_looks_regular_are_not_compared() -> None:
    table = clinic("steady", wander=0.03, patients=6)
    stained = replace(table, signals=np.where((table.exams == "steady-2")[:, None], 2.0, table.signals))
    kept = context.beside_others(stained)[0]
    assert "steady-2" not in kept.exams
    assert set(kept.exams.tolist()) <= {f"steady-{n}" for n in (0, 1, 3, 4, 5)}
    assert len(kept) > 15


def test_made_up_exams_show_one_patient_each_by_one_camera_and_repeat_with_their_seed() -> None:
    patients = ["a", "a", "a", "b", "c", "c"]
    one, two = (exams.plan(patients, 60, seed=3) for _ in range(2))
    assert np.array_equal(one.pictures, two.pictures)
    assert np.array_equal(one.kinds, two.kinds)
    for exam in range(60):
        mine = one.pictures[one.exams == exam]
        assert len({patients[picture] for picture in mine}) == 1
        assert 2 <= len(mine) <= exams.MOST
    assert {0, 1, 2} == set(one.kinds.tolist())
    # A patient with many pictures comes no oftener than one with a single one
    assert 10 <= len({exam for exam, picture in zip(one.exams.tolist(), one.pictures.tolist(), strict=True) if picture == 3}) <= 30
    assert len(one.cameras.gamma) == 60


def test_shots_of_an_exam_share_its_camera_and_filters_show_on_crop_and_frame() -> None:
    rng = np.random.default_rng(4)
    wide, large = (rng.integers(90, 160, (side, side, 3), dtype=np.uint8) for side in exams.sides(48))
    bases = {number: exams.Base(wide, large) for number in range(3)}
    made = exams.plan(["a", "b", "c"], 40, seed=3)
    parts = list(exams.shots(made, bases, 48, batch=32, seed=5))
    again = list(exams.shots(made, bases, 48, batch=32, seed=5))
    assert all(np.array_equal(x, y) for one, other in zip(parts, again, strict=True) for x, y in zip(one[1:], other[1:], strict=True))
    crop, frame = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
    assert crop.shape == frame.shape == (len(made), 48, 48, 3)
    # The middle, as the edge of a turned frame is black
    red = [
        np.log(pixels[:, 16:32, 16:32, 0].mean((1, 2)) + 1) - np.log(pixels[:, 16:32, 16:32, 1].mean((1, 2)) + 1)
        for pixels in (crop, frame)
    ]
    regular, green = made.kinds == 0, made.kinds == 1
    for shown in red:
        assert shown[green].mean() < shown[regular].mean() - 0.2
    within = [shots.std() for e in range(40) if len(shots := red[0][(made.exams == e) & regular]) > 1]
    assert np.mean(within) < 0.6 * red[0][regular].std()


def test_a_shot_shows_the_crop_also_where_the_picture_leaves_no_room_around_it() -> None:
    # Grey where inference looks, white beside it
    inner, outer = (40.0, 0.0, 100.0, 90.0), (20.0, 0.0, 100.0, 100.0)
    wide = np.full((100, 80, 3), 255, np.uint8)
    wide[0:90, 20:80] = 120
    crop = np.asarray(Image.fromarray(wide).resize((68, 68), Image.Resampling.NEAREST))
    frame = np.full((60, 60, 3), 120, np.uint8)
    assert exams.place_of(outer, outer) == exams.WHOLE
    place = exams.place_of(inner, outer)
    assert place == pytest.approx((0.25, -0.1, 0.75, 0.9))
    made = exams.plan(["a"], 30, seed=1)
    regular = replace(made, kinds=np.zeros(len(made), np.int64))
    plain = replace(regular, cameras=Light(*(0 * getattr(made.cameras, name) + (name == "gains") for name in made.cameras.__slots__)))
    shown = np.concatenate([part[1] for part in exams.shots(plain, {0: exams.Base(crop, frame, place)}, 48, batch=16, seed=1)])
    middle = shown[:, 12:36, 12:36]
    assert np.median(middle) < 160
    # Of what lies beside the crop at most a corner, by turning
    assert (shown.min(axis=3) > 200).mean() < 0.08


def test_images_without_a_device_do_not_take_the_made_up_exams_along() -> None:
    learned, _ = context.fit(certain(""), clinic("", wander=0.03))
    assert learned.of("") is None
    assert learned.weights is not None
    assert np.isfinite([*learned.weights.green, *learned.weights.iodine]).all()


def test_too_few_real_images_to_tell_whether_it_harms_leave_it_switched_off() -> None:
    table = clinic("steady", wander=0.03, patients=60)
    few = table.rows((table.targets == 0) | (np.arange(len(table)) < 30))
    learned, figures = context.fit(few, clinic("", wander=0.03, seed=2))
    assert figures["log_loss_beside"] < figures["log_loss_alone"] - context.GAIN
    assert "real_log_loss_beside" not in figures
    assert learned == Context(None, {})


def test_what_a_part_is_worth_elsewhere_sets_the_weights_and_the_known_sources_how_sure_to_be() -> None:
    rng = np.random.default_rng(2)

    def parts(positive: np.ndarray, logits: np.ndarray, distances: np.ndarray, name: str) -> calibrate.Parts:
        names = exams.texts([f"{name}-{k // 3}" for k in range(len(positive))])
        zeros = np.zeros(len(positive))
        return calibrate.Parts(logits, np.exp(distances), zeros, zeros + 0.9, exams.texts([name] * len(positive)), names)

    known, other = rng.random(600) < 0.4, rng.random(1800) < 0.5
    here = parts(known, np.where(known, 2.0, -2.0) + rng.normal(0, 1, 600), np.where(known, 2.0, -2.0) + rng.normal(0, 1, 600), "known")
    # On another camera the distance says nothing
    there = parts(other, np.where(other, 2.0, -2.0) + rng.normal(0, 1, 1800), 2.0 + rng.normal(0, 2, 1800), "other")
    plain = calibrate.fit_parts(here, known, here.distances)
    careful = calibrate.fit_parts(here, known, here.distances, calibrate.Elsewhere(there, other))
    assert plain.w_distance > 0.8 * plain.w_logit
    assert careful.w_distance < 0.5 * careful.w_logit
    p = np.array([careful.probability(x, y, detector=0.9) for x, y in zip(here.logits, here.distances, strict=True)])
    assert p.mean() == pytest.approx(known.mean(), abs=0.03)
    assert p[p > 0.9].mean() == pytest.approx(known[p > 0.9].mean(), abs=0.05)


def test_without_a_bound_in_force_the_fusion_is_plain_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    positive = rng.random(4000) < 1 / (1 + np.exp(-(1.5 * x[:, 0] + 0.7 * x[:, 1] - 1)))
    intercept, weights = calibrate.non_negative_logistic(x, positive)
    reference = LogisticRegression(C=1e6).fit(x, positive)
    assert [intercept, *weights] == pytest.approx([reference.intercept_[0], *reference.coef_[0]], abs=0.02)


def test_isotonic_regression_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 2, 3000)
    positive = rng.random(3000) < 1 / (1 + np.exp(-3 * odds))
    mine = np.concatenate([[level] * size for level, size in calibrate.pooled(positive[np.argsort(odds)].astype(float))])
    theirs = IsotonicRegression().fit_transform(np.sort(odds), positive[np.argsort(odds)].astype(float))
    assert mine == pytest.approx(theirs)
    steps = calibrate.isotonic_steps(odds, positive)
    bended = [bent(x, steps) for x in np.sort(odds).tolist()]
    assert bended == sorted(bended)
    assert bent(1.0, steps) == pytest.approx(3.0, abs=0.8)


def test_a_part_that_says_nothing_gets_no_weight() -> None:
    rng = np.random.default_rng(2)
    positive = rng.random(600) < 0.4
    noise = rng.normal(5, 1, 600)
    parts = calibrate.Parts(
        logits=4 * positive - 2 + rng.normal(0, 1, 600), distances=np.exp(positive + rng.normal(0, 0.5, 600)), neighbours=noise,
        detector=np.full(600, 0.9), sites=exams.texts(["a", "b"] * 300), patients=exams.texts([str(k) for k in range(600)]),
    )  # fmt: skip
    fusion = calibrate.fit_parts(parts, positive, parts.distances)
    assert (fusion.w_neighbours, fusion.w_detector, fusion.steps) == (0.0, 0.0, ())
    assert fusion.w_logit > 0.5
    told = replace(parts, neighbours=noise + 3 * positive)
    assert calibrate.fit_parts(told, positive, parts.distances).w_neighbours > 0.5


def test_what_is_unlike_the_training_images_ranks_last() -> None:
    rng = np.random.default_rng(3)
    kept = novelty.fit(rng.normal(size=(800, 40)), rng.normal(size=(300, 40)), seed=1)
    near, far = kept.distances(rng.normal(size=(200, 40))), kept.distances(rng.normal(size=(5, 40)) + 4)
    assert np.mean([kept.rank(d) > 0.99 for d in near]) < 0.06
    assert all(kept.rank(d) == 1 for d in far)
    assert sum(value.nbytes for value in kept.tensors().values()) < 200_000
