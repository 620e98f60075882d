"""Measures that mean the same on a thumbnail and on a large photograph, and findings that follow from them by the bundle's limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inference import api, quality
from inference.preprocess import Picture, Pixels, crop_to
from inference.quality import BLUR_MEASURES, CONTENT_MEASURES, Head, Judge, Limits
from inference.types import Analysis, Kind, Route
from tests.inference import toys

LIMITS = Limits(blurred=0.5, glare=0.05, too_dark=0.2, too_bright=0.5, not_a_cervix=0.5)
FINE = {"blur": 0.1, "not_a_cervix": 0.1, "light": 0.8, "washed": 0.0, "glare_blob": 0.0}


def judge(blur: float = -9.0, content: float = -9.0, limits: Limits = LIMITS) -> Judge:
    """Heads that say the same of every picture; the toy's embedding has its own length."""
    width = 2 + len(CONTENT_MEASURES) + toys.EMBEDDING
    return Judge(Head(blur, (0.0,) * len(BLUR_MEASURES)), Head(content, (0.0,) * width), limits)


def textured(side: int) -> Pixels:
    """Edges and grain of a cervix-like picture, drawn large and reduced to `side`."""
    rng = np.random.default_rng(2)
    coarse = rng.integers(60, 200, (96, 96, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((1536, 1536), Image.Resampling.BICUBIC)
    return np.asarray(large.resize((side, side), Image.Resampling.LANCZOS))


def measured(pixels: Pixels) -> dict[str, float]:
    return quality.measure(crop_to(Picture(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0]), None, quality.SIDE))


def test_measures_hardly_depend_on_the_size_of_the_file() -> None:
    small, large = measured(textured(400)), measured(textured(1400))
    for name in (*BLUR_MEASURES, *CONTENT_MEASURES):
        assert small[name] == pytest.approx(large[name], abs=0.35), name


def test_how_finely_a_crop_was_taken_is_counted_in_octaves_and_bounded() -> None:
    assert [quality.native(side, side) for side in (256, 128, 64, 16, 0)] == [0, -1, -2, -2, -2]
    assert quality.native(512, 128) == 0
    assert quality.native(3000, 3000) == quality.native(400, 400) == 0.5


def test_an_older_head_for_blur_is_asked_as_it_was_fitted() -> None:
    old = judge().as_json()
    del old["by_size"], old["by_texture"]
    assert Judge.from_json(old) == judge()
    measures = measured(textured(400))
    assert len(quality.blur_features(measures, by_size=False)) == len(BLUR_MEASURES)
    small, large = ({**measures, "native": size} for size in (-1.0, 0.5))
    features = [quality.blur_features(one, by_size=True) for one in (small, large)]
    assert [len(one) for one in features] == [39, 39]
    assert features[0][: len(BLUR_MEASURES)] == pytest.approx(features[1][: len(BLUR_MEASURES)])
    assert features[1][26:] == pytest.approx(0)
    assert features[0][26:] == pytest.approx(features[0][13:26])


def test_a_head_that_knows_the_texture_is_asked_with_it_and_others_are_not() -> None:
    measures = {**measured(textured(400)), "native": 0.0}
    seen = quality.Seen(
        score=0.9, distance=1.0, embedding=[0.0] * (len(judge().content.weights) - 2 - len(CONTENT_MEASURES)), texture=(0.5, -1.0)
    )
    weights = (*[0.0] * len(BLUR_MEASURES), 2.0, 1.0, *[0.0] * 26)
    knowing = replace(judge(), blur=Head(0.0, weights), by_size=True, by_texture=True)
    assert Judge.from_json(json.loads(json.dumps(knowing.as_json()))) == knowing
    assert knowing.scored(measures, seen)["blur"] == pytest.approx(0.5)
    assert knowing.scored(measures, replace(seen, texture=(1.0, 0.0)))["blur"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert judge().scored(measures, seen) == judge().scored(measures, replace(seen, texture=()))


def test_a_flat_picture_has_no_detail_on_any_level_and_blur_takes_the_fine_one_first() -> None:
    flat = quality.measure(np.full((256, 256, 3), 90, np.uint8))
    assert {flat[name] for name in quality.DETAILS} == {0.0}
    sharp = textured(256)
    blurred = np.asarray(Image.fromarray(sharp).resize((48, 48), Image.Resampling.BOX).resize((256, 256), Image.Resampling.BICUBIC))
    before, after = quality.measure(sharp), quality.measure(blurred)
    lost = [before[f"detail_{level}_50"] - after[f"detail_{level}_50"] for level in range(quality.LEVELS)]
    assert lost[0] > lost[-1] + 1


def test_the_largest_burnt_out_spot_is_counted_and_specks_are_not() -> None:
    pixels = np.full((256, 256, 3), 100, np.uint8)
    pixels[100:140, 100:140] = 255
    pixels[60:100:8, 60:100:8] = 255
    found = quality.measure(pixels)
    assert found["glare_blob"] == pytest.approx(20 * 20 / quality.INSIDE.sum())
    assert found["white"] > found["glare_blob"]
    assert quality.largest_blob(np.eye(5, dtype=bool)) == 1
    assert quality.largest_blob(np.zeros((5, 5), dtype=bool)) == 0


def test_what_lies_in_the_corners_is_not_measured() -> None:
    pixels = textured(256).copy()
    plain = quality.measure(pixels)
    pixels[:20, :20] = 255
    cornered = quality.measure(pixels)
    for name in ("white", "washed", "glare_blob", "light", "red"):
        assert cornered[name] == plain[name]


@pytest.mark.parametrize(
    ("changed", "found", "kind"),
    [
        ({}, (), Kind.REGULAR),
        ({"blur": 0.6}, ("blurred",), Kind.UNUSABLE),
        ({"glare_blob": 0.2}, ("glare",), Kind.REGULAR),
        ({"light": 0.1, "blur": 0.9}, ("too_dark",), Kind.UNUSABLE),
        ({"washed": 0.7, "glare_blob": 0.7}, ("too_bright",), Kind.UNUSABLE),
        ({"not_a_cervix": 0.8, "blur": 0.9}, ("not_a_cervix", "blurred"), Kind.NOT_CERVIX),
    ],
)
def test_findings_and_the_kind_they_make(changed: dict[str, float], found: tuple[str, ...], kind: Kind) -> None:
    said = quality.findings({**FINE, **changed}, LIMITS)
    assert said == found
    assert quality.kind_of(said, Kind.REGULAR) is kind


@given(st.fixed_dictionaries({name: st.floats(0, 1) for name in FINE}))
def test_raising_the_limits_never_adds_a_finding(measures: dict[str, float]) -> None:
    looser = replace(LIMITS, blurred=0.8, glare=0.5, too_dark=0.1, too_bright=0.9, not_a_cervix=0.9)
    strict = set(quality.findings(measures, LIMITS))
    loose = set(quality.findings(measures, looser))
    # A picture that is no longer too dark may now be seen to be blurred
    assert loose <= strict or {"too_dark", "too_bright"} & strict


def test_a_head_refuses_features_that_are_not_its_own() -> None:
    assert Head(0.0, (1.0, -1.0)).probability([2.0, 2.0]) == 0.5
    with pytest.raises(ValueError, match="2 weights for 3"):
        Head(0.0, (1.0, -1.0)).probability([1, 2, 3])


def test_a_bundle_without_a_quality_part_measures_and_judges_nothing(tiny_bundle: Path, pictures: list[Path]) -> None:
    answer = api.analyse(pictures[:1], tiny_bundle)[0]
    assert isinstance(answer, Analysis)
    assert "blur" not in answer.quality
    assert answer.kind in (Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE)


@pytest.mark.parametrize(
    ("blur", "content", "kind", "reason"), [(9.0, -9.0, "unusable", "blurred"), (-9.0, 9.0, "not_cervix", "not_a_cervix")]
)
def test_a_flawed_picture_goes_to_people_with_its_reason_and_keeps_its_probabilities(
    tiny_bundle: Path, pictures: list[Path], tmp_path: Path, blur: float, content: float, kind: str, reason: str
) -> None:
    bundle = toys.write_bundle(tmp_path / "judging", quality=json.loads(json.dumps(judge(blur, content).as_json())))
    plain = api.analyse(pictures, tiny_bundle)
    for before, after in zip(plain, api.analyse(pictures, bundle), strict=True):
        assert isinstance(before, Analysis)
        assert isinstance(after, Analysis)
        assert (after.kind.value, after.route, after.reasons[0]) == (kind, Route.REVIEW, reason)
        assert after.reasons[1:] == before.reasons
        assert (after.probabilities, after.p_non_regular) == (before.probabilities, before.p_non_regular)
        assert 0 <= after.quality["blur"] <= 1


def test_a_picture_without_flaws_is_answered_as_by_the_bundle_without_the_part(
    tiny_bundle: Path, pictures: list[Path], tmp_path: Path
) -> None:
    generous = replace(LIMITS, glare=1.0, too_dark=0.0, too_bright=1.0)
    bundle = toys.write_bundle(tmp_path / "judging", quality=judge(limits=generous).as_json())
    for before, after in zip(api.analyse(pictures, tiny_bundle), api.analyse(pictures, bundle), strict=True):
        assert isinstance(before, Analysis)
        assert isinstance(after, Analysis)
        assert (after.kind, after.route, after.reasons) == (before.kind, before.route, before.reasons)
