"""An image beside its exam's other images: what is learned counts, whatever the order, and nothing happens to one that stands alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from inference.assessment import Assessor, alone, opened
from inference.context import FEATURES, Context, Weights, compared, describe, signals
from inference.types import Evidence, Kind, Route
from portal import ml
from tests.inference import toys

PINK = np.full((64, 64, 3), (200, 120, 120), dtype=np.uint8)
GREENISH = np.full((64, 64, 3), (140, 150, 150), dtype=np.uint8)
COMPARE = Weights((0.0, 1.0, 0.5, -6.0, 0.0, 0.0, -2.0, 0.0, 0.0), (0.0, 1.0, 0.5, 0.0, -6.0, 0.0, 0.0, -2.0, 0.0))


def seen(p: float = 0.1, pixels: np.ndarray = PINK, *, device: str = "d", reasons: tuple[str, ...] = ()) -> Evidence:
    return Evidence(
        probabilities={"regular": 1 - p, "green_filter": 0.8 * p, "lugol_iodine": 0.2 * p}, p_non_regular=p,
        kind=Kind.REGULAR if p < 0.5 else Kind.GREEN_FILTER, deep_sad_distance=0.1, colour=describe(pixels, pixels),
        route=Route.REVIEW if reasons else Route.AUTO_REGULAR, reasons=reasons, device=device,
    )  # fmt: skip


def assessor(weights: Weights | None = COMPARE, **devices: Weights | None) -> Assessor:
    return Assessor(t_lo=0.1, t_hi=0.9, context=Context(weights, devices), devices=frozenset({"d"}))


def test_a_filters_gain_is_a_shift_of_the_same_size_on_any_tissue() -> None:
    dark = (PINK * 0.5).astype(np.uint8)
    for tissue in (PINK, dark):
        filtered = (tissue * np.array([0.7, 1.0, 1.0])).astype(np.uint8)
        shift = np.array(describe(filtered, filtered)) - np.array(describe(tissue, tissue))
        assert shift[:3] == pytest.approx(np.log(0.7), abs=0.03)
        assert shift[3:6] == pytest.approx(0, abs=0.02)


def test_borders_and_highlights_have_no_colour() -> None:
    framed = PINK.copy()
    framed[:20], framed[50:] = 0, 255
    assert describe(framed, framed) == pytest.approx(describe(PINK, PINK))
    assert np.isfinite(describe(framed * 0, framed)).all()


def test_a_faint_filter_shows_beside_the_others_and_is_then_asked_about() -> None:
    exam = [seen(), seen(0.05), seen(0.3, GREENISH)]
    answers = assessor().assess(exam)
    assert [answer.kind for answer in answers] == [Kind.REGULAR, Kind.REGULAR, Kind.GREEN_FILTER]
    assert answers[2].p_non_regular > 0.9
    assert answers[2].overturned
    assert (answers[2].route, answers[2].reasons, answers[2].siblings) == (Route.REVIEW, ("context_overturned",), 2)
    assert (answers[2].p_alone, answers[2].kind_alone) == (0.3, Kind.REGULAR)
    assert sum(answers[2].probabilities.values()) == pytest.approx(1)


def test_among_images_of_which_none_looks_regular_each_stands_as_it_is_alone() -> None:
    stained = [seen(0.95, GREENISH), seen(0.9, GREENISH), seen(0.8, GREENISH)]
    answers = assessor().assess(stained)
    assert [(a.p_non_regular, a.kind, a.route, a.siblings) for a in answers] == [
        (one.p_non_regular, one.kind, one.route, 2) for one in stained
    ]
    # Where some look regular, there is something to compare with
    assert assessor().assess([stained[2], seen(0.05), seen(0.1)])[0].p_non_regular > 0.95


def test_the_order_of_the_images_changes_nothing() -> None:
    exam = [seen(0.1), seen(0.4, GREENISH), seen(0.9), seen(0.2, (PINK * 0.8).astype(np.uint8))]
    first = assessor().assess(exam)
    for order in permutations(range(4)):
        assert assessor().assess([exam[k] for k in order]) == [first[k] for k in order]


def test_one_image_stands_as_it_is_also_where_others_have_another_device() -> None:
    one = seen(0.3, GREENISH, reasons=("between_thresholds",))
    assert assessor().assess([one]) == [alone(one)]
    answers = assessor().assess([one, seen(device="other")])
    assert answers[0] == alone(one)
    assert answers[0].siblings == 0


def test_a_device_may_be_left_out_or_have_weights_of_its_own() -> None:
    exam = [seen(0.3, GREENISH), seen()]
    assert assessor(d=None).assess(exam)[0] == alone(exam[0])
    assert assessor(None, d=COMPARE).assess(exam)[0].siblings == 1
    assert assessor(None).assess(exam)[0] == alone(exam[0])


def test_other_doubts_stay_and_a_doubt_between_the_thresholds_is_weighed_anew() -> None:
    calm = assessor().assess([seen(0.15, reasons=("between_thresholds", "classifiers_disagree")), seen(0.15), seen(0.15)])[0]
    assert calm.reasons in (("classifiers_disagree",), ("classifiers_disagree", "between_thresholds"))
    assert calm.route is Route.REVIEW


def test_a_device_without_calibration_is_asked_about_only_on_request() -> None:
    one = seen(device="new")
    assert assessor().assess([one])[0].reasons == ()
    asked = assessor().assess([one, seen()], known_devices_only=True)
    assert [(answer.route, answer.reasons) for answer in asked] == [
        (Route.REVIEW, ("no_calibration_for_device",)),
        (Route.AUTO_REGULAR, ()),
    ]


def test_colours_that_are_not_known_make_no_difference() -> None:
    own, other = signals(replace(seen(), colour=())), signals(seen())
    green, iodine = compared(own, [other])
    assert np.isfinite(green).all()
    assert green[2:7] == pytest.approx(0)
    assert len(green) == len(iodine) == len(FEATURES)


def test_one_image_without_colours_hides_nothing_of_the_others() -> None:
    own, plain, unknown = signals(seen(0.3, GREENISH)), signals(seen()), signals(replace(seen(), colour=()))
    with_unknown, without = compared(own, [plain, unknown, plain])[0], compared(own, [plain, plain])[0]
    assert with_unknown[2:7] == pytest.approx(without[2:7])
    assert abs(with_unknown[2]) > 0.05


def test_a_bundle_keeps_what_it_learned_and_one_of_before_compares_nothing(tmp_path: Path) -> None:
    exam = [seen(0.3, GREENISH), seen()]
    learned = Context(COMPARE, {"x": None})
    assert Context.from_json(json.loads(json.dumps(learned.as_json()))) == learned
    new = toys.write_bundle(tmp_path / "new", context=learned.as_json(), calibrated_devices=["d"])
    old = toys.write_bundle(tmp_path / "old")
    assert ml.assess(new, exam) == assessor(x=None).assess(exam)
    assert ml.assess(old, exam) == [alone(one) for one in exam]


def test_features_of_another_version_are_not_misread(tmp_path: Path) -> None:
    odd = toys.write_bundle(tmp_path / "odd", context={"features": ["own"], "weights": None, "devices": {}})
    assert opened(odd).context == Context(None, {})


def test_assessing_loads_no_torch(tiny_bundle: Path) -> None:
    code = (
        f"import sys, pathlib; from portal import ml; ml.assess(pathlib.Path({str(tiny_bundle)!r}), []); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
