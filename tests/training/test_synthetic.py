"""The drawn examples and the tints: the same seed draws the same, and the truth told is what was drawn."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import synthetic, tints
from training.synthetic import KINDS, STYLES
from training.tints import Pixels
from training.types import ExampleImage

SMALL = (240, 180)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ExampleImage]]:
    out = tmp_path_factory.mktemp("examples")
    return out, synthetic.draw_examples(out, seed=3, patients=6)


def _scene(kind: str, site: str = "north-clinic", strength: float = 0.0, seed: int = 5) -> synthetic.Scene:
    style, rng = STYLES[site], np.random.default_rng(seed)
    anatomy, pose = synthetic.draw_anatomy(rng, style), synthetic.draw_pose(rng, style)
    return synthetic.render(rng, kind=kind, style=style, size=SMALL, anatomy=anatomy, pose=pose, strength=strength)


def _digest(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def _shares(image: Pixels) -> tuple[float, ...]:
    """Share of R, G, B in the light of the picture."""
    total = image.reshape(-1, 3).sum(axis=0, dtype=np.float64)
    return tuple(float(v) for v in total / total.sum())


def test_the_same_seed_draws_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic.draw_examples(tmp_path / name, seed=11, patients=3)
    synthetic.draw_examples(tmp_path / "c", seed=12, patients=3)
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b")
    assert _digest(tmp_path / "a") != _digest(tmp_path / "c")


def test_every_file_has_its_truth_and_its_row(drawn: tuple[Path, list[ExampleImage]]) -> None:
    out, examples = drawn
    on_disk = {str(p) for p in out.resolve().rglob("*.jpg")}
    assert on_disk == {e.path for e in examples}
    assert len(on_disk) == len(examples)
    with (out / "truth.csv").open(encoding="utf-8") as file:
        truth = {row["path"]: row for row in csv.DictReader(file)}
    assert {str(out.resolve() / path) for path in truth} == on_disk
    for example in examples:
        row = truth[Path(example.path).relative_to(out.resolve()).as_posix()]
        assert (row["kind"], row["patient"], row["site"]) == (example.kind, example.patient, example.site)
        assert (row["box_x0"] == "") == (example.box is None)
    for site in STYLES:
        with (out / site / "metadata.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row["file"] for row in rows} == {p.name for p in (out / site).glob("*.jpg")}
        assert {row["stated_kind"] for row in rows} == {""}


def test_boxes_lie_in_the_frame_and_only_where_a_cervix_is(drawn: tuple[Path, list[ExampleImage]]) -> None:
    for example in drawn[1]:
        with Image.open(example.path) as picture:
            width, height = picture.size
            assert picture.size == STYLES[example.site].size
            exif = picture.getexif()
            assert exif.get_ifd(0x8769)[0x9003].startswith("202")
            assert exif[0x0110] == example.device
        if example.kind == "not_cervix":
            assert example.box is None
            continue
        assert example.box is not None
        x0, y0, x1, y1 = example.box
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert (x1 - x0) * (y1 - y0) > 0.05 * width * height


@pytest.mark.parametrize("site", STYLES)
def test_the_box_holds_the_drawn_cervix_and_touches_it(site: str) -> None:
    for seed in range(6):
        scene = _scene("regular", site, seed=seed)
        assert scene.box is not None
        assert scene.mask is not None
        x0, y0, x1, y1 = (int(v) for v in scene.box)
        inside = scene.mask[y0:y1, x0:x1]
        assert int(np.count_nonzero(inside)) == int(np.count_nonzero(scene.mask))
        assert all(bool(edge.any()) for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_kinds_are_unbalanced_as_in_a_clinic_and_split_by_patient() -> None:
    plan = synthetic._plan(np.random.default_rng(7), 40)
    kinds = Counter(kind for exam in plan for kind, _ in exam)
    total = kinds.total()
    positive = sum(any(kind in ("green_filter", "lugol_iodine") for kind, _ in exam) for exam in plan)
    assert set(kinds) == set(KINDS)
    assert 150 <= total <= 200
    assert all(3 <= len(exam) <= 6 for exam in plan)
    assert 16 <= positive <= 18
    assert 0.15 <= (kinds["green_filter"] + kinds["lugol_iodine"]) / total <= 0.25
    strengths = [strength for exam in plan for kind, strength in exam if kind == "green_filter"]
    assert 4 <= sum(s < synthetic.FAINT for s in strengths) <= len(strengths) - 4
    assert {strength for exam in plan for kind, strength in exam if kind in ("regular", "unusable", "not_cervix")} == {0.0}


@pytest.mark.parametrize("seed", range(8))
def test_green_shifts_further_with_strength(seed: int) -> None:
    base = _scene("regular").pixels
    shares = [_shares(tints.green(base, s, np.random.default_rng(seed))) for s in (0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1)]
    assert shares[0] == pytest.approx(_shares(base), abs=1e-6)
    assert all(a[1] < b[1] for a, b in pairwise(shares))
    assert all(a[0] > b[0] for a, b in pairwise(shares))
    assert shares[-1][1] > 0.85


@pytest.mark.parametrize("seed", range(8))
def test_iodine_takes_the_blue_with_strength_and_lies_on_the_cervix(seed: int) -> None:
    scene = _scene("regular")
    assert scene.box is not None
    steps = [tints.lugol(scene.pixels, s, np.random.default_rng(seed), scene.box) for s in (0, 0.3, 0.6, 1)]
    assert np.array_equal(steps[0], scene.pixels)
    blue = [_shares(step)[2] for step in steps]
    assert all(a > b for a, b in pairwise(blue))
    far_off = tints.lugol(scene.pixels, 1.0, np.random.default_rng(seed), (0.0, 0.0, 40.0, 40.0))
    assert np.array_equal(far_off[-20:, -20:], scene.pixels[-20:, -20:])


def test_kinds_look_as_they_are_called() -> None:
    regular, green = _shares(_scene("regular").pixels), _shares(_scene("green_filter", strength=0.9).pixels)
    iodine = _shares(_scene("lugol_iodine", strength=1.0).pixels)
    assert regular[0] > regular[1]
    assert green[1] > 0.6
    assert iodine[2] < regular[2]


def test_pictures_of_a_patient_share_her_anatomy() -> None:
    style, rng = STYLES["river-hospital"], np.random.default_rng(1)
    anatomy, pose = synthetic.draw_anatomy(rng, style), synthetic.draw_pose(rng, style)
    other = synthetic.draw_anatomy(rng, style)

    def picture(who: synthetic.Anatomy, seed: int) -> Pixels:
        drawing = np.random.default_rng(seed)
        return synthetic.draw_scene(drawing, kind="regular", style=style, size=SMALL, anatomy=who, pose=pose, acid=0.0)[0]

    first, second, foreign = (picture(*which).astype(float) for which in ((anatomy, 1), (anatomy, 2), (other, 3)))
    assert np.abs(first - second).mean() < 0.5 * np.abs(first - foreign).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_at_the_size_asked(kind: str) -> None:
    image, box = synthetic.draw_scene(np.random.default_rng(2), kind=kind, style="hill-station", size=(90, 120))
    assert image.shape == (120, 90, 3)
    assert image.dtype == np.uint8
    assert (box is None) == (kind == "not_cervix")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        synthetic.draw_scene(np.random.default_rng(0), kind="blue_filter", style="hill-station")


def test_training_scenes_are_drawn_in_their_shares() -> None:
    scenes = list(synthetic.draw_training_scenes(np.random.default_rng(4), 24, side=96, shares={"green_filter": 1, "not_cervix": 1}))
    assert len(scenes) == 24
    assert {kind for _, _, kind, _ in scenes} == {"green_filter", "not_cervix"}
    for image, box, kind, strength in scenes:
        assert max(image.shape) == 96
        assert (box is None) == (kind == "not_cervix")
        assert (strength > 0) == (kind == "green_filter")
