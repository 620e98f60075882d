"""One analyzer over pictures: in order, whatever else is in the batch, whatever is broken beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference import api, preprocess
from inference import bundle as bundles
from inference.bundle import BASELINE, BundleError
from inference.detector import CervixDetector, DetectorConfig
from inference.novelty import LOOK_AXES, Novelty
from inference.preprocess import Picture
from inference.threads import use as use_threads
from inference.types import Analysis, Box, DetectorState, Unreadable
from portal import ml
from tests.inference import toys

torch.set_num_threads(1)


def test_one_bad_file_does_not_stop_the_others(tiny_bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    answers = ml.analyse([pictures[0], tmp_path / "bad.jpg", tmp_path / "gone.jpg", pictures[1]], tiny_bundle)
    assert [type(answer) for answer in answers] == [Analysis, Unreadable, Unreadable, Analysis]
    assert answers[1].code == "empty"  # type: ignore[union-attr]


def test_the_answer_does_not_depend_on_the_batch(tiny_bundle: Path, pictures: list[Path]) -> None:
    together = [a for a in api.analyse(pictures, tiny_bundle, batch=7) if isinstance(a, Analysis)]
    backwards = [a for a in api.analyse(pictures[::-1], tiny_bundle, batch=3) if isinstance(a, Analysis)][::-1]
    alone = [api.analyse([path], tiny_bundle)[0] for path in pictures]
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert isinstance(three, Analysis)
        assert abs(one.p_non_regular - two.p_non_regular) < 1e-3
        assert abs(one.p_non_regular - three.p_non_regular) < 1e-3
        assert one.route == two.route == three.route
        assert one.kind == two.kind == three.kind


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_answers_come_in_order_however_many_threads_work(tiny_bundle: Path, pictures: list[Path], tmp_path: Path, threads: int) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")
    paths = [*pictures, tmp_path / "bad.jpg", *pictures[::-1], tmp_path / "gone.jpg", *pictures]
    alone = {path: api.analyse([path], tiny_bundle, threads=1)[0] for path in paths}
    try:
        said = api.analyse(paths, tiny_bundle, batch=2, threads=threads)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == threads, "a new thread starts with the caller's number, not a worker's"
    finally:
        torch.set_num_threads(1)
    for path, answer in zip(paths, said, strict=True):
        expected = alone[path]
        if isinstance(answer, Analysis) and isinstance(expected, Analysis):
            assert (answer.width, answer.height) == (expected.width, expected.height), "pictures differ in size, so order shows"
            assert abs(answer.p_non_regular - expected.p_non_regular) < 1e-3
        else:
            assert answer == expected


def slowed(monkeypatch: pytest.MonkeyPatch, hold: Callable[[Path], object]) -> list[Path]:
    """Decoding that first does `hold`; returns the paths that it has come to, in order."""
    opened: list[Path] = []

    def decode(path: Path) -> Picture:
        opened.append(path)
        hold(path)
        return preprocess.decode(path)

    monkeypatch.setattr(api, "decode", decode)
    return opened


def test_as_many_batches_as_threads_are_worked_on_at_once_and_keep_their_order(
    tiny_bundle: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_three = threading.Barrier(3, timeout=60)
    # Each of the first three waits for the other two, and the first of them is let through last
    late = threading.Event()

    def hold(path: Path) -> None:
        if path in pictures[:3]:
            all_three.wait()
        if path == pictures[0]:
            assert late.wait(60)
        if path == pictures[3]:
            late.set()

    slowed(monkeypatch, hold)
    try:
        said = api.analyse(pictures[:6], tiny_bundle, batch=2, threads=3)
    finally:
        torch.set_num_threads(1)
    monkeypatch.undo()
    assert [(one.width, one.height) for one in said if isinstance(one, Analysis)] == [preprocess.decode(p).image.size for p in pictures[:6]]


def test_no_more_than_two_batches_of_pictures_are_open_at_once(
    tiny_bundle: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def pool_of(workers: int, **given: Any) -> ThreadPoolExecutor:
        used.append(workers)
        return ThreadPoolExecutor(workers, **given)

    monkeypatch.setattr(api, "ThreadPoolExecutor", pool_of)
    try:
        api.analyse(pictures * 2, tiny_bundle, batch=1, threads=6)
        api.analyse(pictures * 2, tiny_bundle, batch=2, threads=6)
        api.analyse(pictures[:3], tiny_bundle, batch=16, threads=6)
    finally:
        torch.set_num_threads(1)
    assert used == [2, 4, 3]


def test_what_nobody_waits_for_any_more_is_not_analysed(tiny_bundle: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    more = threading.Event()
    opened = slowed(monkeypatch, lambda path: len(opened) > 1 and more.wait(60))
    answers = api.iterate(pictures * 20, tiny_bundle, batch=1)
    assert isinstance(next(answers), Analysis)
    threading.Timer(0.5, more.set).start()
    answers.close()
    assert len(opened) == 2, "the one that was waited for and the one that was begun, of 140"


def test_an_error_reaches_the_caller_after_the_answers_before_it(
    tiny_bundle: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(path: Path) -> None:
        if path == pictures[2]:
            raise MemoryError("no room")

    slowed(monkeypatch, hold)
    answers = api.iterate(pictures, tiny_bundle, batch=1)
    assert all(isinstance(next(answers), Analysis) for _ in range(2))
    with pytest.raises(MemoryError, match="no room"):
        next(answers)


def test_a_backbone_whose_features_are_hooked_is_asked_by_one_thread_at_a_time(tmp_path: Path) -> None:
    """timm keeps what its hooks saw in one place for all threads: unlocked, one batch gets another's features, or none."""
    detector = CervixDetector(DetectorConfig(backbone="legacy_xception", size=64, channels=16)).eval()
    about, digest = bundles.read_manifest(toys.write_bundle(tmp_path / "tiny"))
    _, classifier, measure = api.build(about["parts"])
    analyzer = api.Analyzer(about, digest, (detector, classifier, measure), "cpu")
    shown = [preprocess.decode(toys.save_blob(tmp_path / f"{n}.jpg", size=(90 + n, 80), seed=n)) for n in range(4)]
    alone = [analyzer.find([picture]) for picture in shown]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: analyzer.find([shown[n % 4]]), range(40)))
    assert together == alone * 10


def test_each_thread_keeps_its_own_number_of_torch_threads() -> None:
    """Also one that asks torch its first question after another thread has set a number."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(use_threads, 3).result()
        torch.set_num_threads(1)
        assert pool.submit(torch.get_num_threads).result() == 3


def test_the_same_file_twice_is_the_same_analysis(tiny_bundle: Path, pictures: list[Path]) -> None:
    assert api.analyse(pictures[:2], tiny_bundle) == api.analyse(pictures[:2], tiny_bundle)


def test_an_analysis_is_within_its_ranges(tiny_bundle: Path, pictures: list[Path]) -> None:
    for answer in api.analyse(pictures, tiny_bundle):
        assert isinstance(answer, Analysis)
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert 0 <= answer.p_non_regular <= 1
        assert 0 <= answer.deep_sad_rank <= 1
        assert {"sharpness", "glare", "exposure"} < set(answer.quality)
        assert answer.box is not None
        assert 0 <= answer.box.x0 <= answer.box.x1 <= answer.width
        assert 0 <= answer.box.y0 <= answer.box.y1 <= answer.height


def test_an_opened_bundle_is_kept_until_it_changes(tiny_bundle: Path, tmp_path: Path) -> None:
    assert api.opened(tiny_bundle) is api.opened(tiny_bundle)
    other = toys.write_bundle(tmp_path / "other", name="other")
    assert api.opened(other) is not api.opened(tiny_bundle)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 3), (33, 31)])
def test_pictures_of_odd_shape_are_analysed(tiny_bundle: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    answer = api.analyse([toys.save_blob(tmp_path / "a.png", size=size)], tiny_bundle)[0]
    assert isinstance(answer, Analysis)
    assert (answer.width, answer.height) == size


def test_no_pictures_give_no_answers(tiny_bundle: Path) -> None:
    assert api.analyse([], tiny_bundle) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(tiny_bundle: Path, pictures: list[Path]) -> None:
    with pytest.raises(BundleError, match="no CUDA device"):
        api.analyse(pictures[:1], tiny_bundle, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_says_the_same_as_the_cpu(pictures: list[Path]) -> None:
    for one, two in zip(api.analyse(pictures, BASELINE), api.analyse(pictures, BASELINE, device="cuda"), strict=True):
        assert isinstance(one, Analysis)
        assert isinstance(two, Analysis)
        assert abs(one.p_non_regular - two.p_non_regular) < 1e-3
        assert two.deep_sad_distance == pytest.approx(one.deep_sad_distance, rel=1e-3)
        assert (two.route, two.kind, two.detector_state) == (one.route, one.kind, one.detector_state)


def test_only_a_sure_box_is_cropped_to() -> None:
    low = api._found([Box(0, 0, 9, 9, 0.4)])
    sure = api._found([Box(0, 0, 9, 9, 0.8), Box(1, 1, 5, 5, 0.35), Box(1, 1, 5, 5, 0.1)])
    assert (low.state, low.crop) == (DetectorState.LOW, None)
    assert (sure.state, sure.crop, len(sure.others)) == (DetectorState.FOUND, sure.box, 1)
    assert api._found([]).state is DetectorState.NONE


def test_where_the_classifier_sees_it_is_told_of_the_region_that_it_saw(tiny_bundle: Path, pictures: list[Path]) -> None:
    for path, said in zip(pictures, api.analyse(pictures, tiny_bundle), strict=True):
        assert isinstance(said, Analysis), path
        assert said.region is not None
        x0, y0, x1, y1 = said.region
        assert 0 <= x0 < x1 <= said.width
        assert 0 <= y0 < y1 <= said.height
        assert len(said.heat) == len(said.heat[0]) >= 1
        assert all(0 <= share <= 1 for row in said.heat for share in row)


def test_what_lies_on_the_same_sides_of_the_mean_has_one_look() -> None:
    axes = np.eye(9, LOOK_AXES)
    known = Novelty(mean=np.full(9, 2.0), axes=axes, prototypes=np.zeros((1, LOOK_AXES)), quantiles=(0.0, 1.0))
    above, below = [3.0] * 9, [1.0] * 9
    assert (known.look(above), known.look(below)) == (2**LOOK_AXES - 1, 0)
    assert known.look([2.1, *below[1:]]) == 1 == known.look([90.0, *below[1:6], 50.0, 50.0, 50.0])


def test_the_shipped_bundle_tells_looks_apart(pictures: list[Path]) -> None:
    said = api.analyse(pictures, BASELINE)
    looks = [one.look for one in said if isinstance(one, Analysis)]
    assert len(looks) == len(pictures)
    assert all(look is not None and 0 <= look < 2**LOOK_AXES for look in looks)
    assert [one.look for one in api.analyse(pictures, BASELINE) if isinstance(one, Analysis)] == looks
