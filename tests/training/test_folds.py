"""Folds by patient: everybody is tested once, by a bundle that never saw them; real trainings from the shell."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from inference import bundle as bundles
from inference.types import Kind
from tests.training import toys
from training import __main__ as shell
from training import config, evaluation, folds
from training.manifest import DRAWN, Record, Snapshot, read_snapshot
from training.types import TrainConfig, TrainingRefused

ROOT = Path(__file__).resolve().parents[2]
CONFIG, RECIPES = TrainConfig(preset="small", parts=config.PARTS), config.PRESETS["small"]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 patients of two sites: enough are left to train on in each of two folds."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(toys.PATIENTS, "train", 18)
        return toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap")


def of(snapshot: Path, out: Path, count: int = 3, *sites: str) -> folds.Folds:
    return folds.Folds(snapshot, out, count, sites)


def splits(records: Sequence[Record]) -> dict[str, str]:
    return {r.patient: r.split for r in records}


def in_memory(records: Sequence[Record]) -> Snapshot:
    return Snapshot(Path(), "made", "", tuple(records))


def untouched(*_: object) -> None:
    pytest.fail("nothing may be trained")


def test_every_patient_is_tested_in_one_fold_and_trains_or_chooses_in_the_others(snapshot: Path, tmp_path: Path) -> None:
    order, data = of(snapshot, tmp_path), read_snapshot(snapshot)
    before = splits(data.records)
    each = [splits(read_snapshot(folds.divide(data, order, number)).records) for number in order.numbers()]
    for patient, split in before.items():
        others = [fold[patient] for fold in each if fold[patient] != "test"]
        assert len(others) == 2
        assert set(others) == {"train" if split == "test" else split}
    assert {sum(split == "test" for split in fold.values()) for fold in each} == {9}


def test_patients_of_sites_that_are_not_asked_for_stay_where_they_are(snapshot: Path, tmp_path: Path) -> None:
    order, data = of(snapshot, tmp_path, 2, "site-1"), read_snapshot(snapshot)
    elsewhere = {r.patient for r in data.records if r.site == "site-0"}
    fold, before = splits(folds.moved(data, order, 1)), splits(data.records)
    assert {patient: fold[patient] for patient in elsewhere} == {patient: before[patient] for patient in elsewhere}
    assert {fold[r.patient] for r in data.records if r.site == "site-1"} >= {"train", "test"}


def test_one_pseudonym_at_two_sites_is_tested_in_one_fold(snapshot: Path, tmp_path: Path) -> None:
    once = read_snapshot(snapshot).records
    twice = in_memory([*once, *(replace(r, site=f"other-{r.site}") for r in once)])
    for number in (1, 2, 3):
        sides: dict[str, set[str]] = {}
        for r in folds.moved(twice, of(snapshot, tmp_path), number):
            sides.setdefault(r.patient, set()).add(r.split)
        assert all(len(side) == 1 for side in sides.values())


def test_drawn_examples_are_tested_only_where_their_site_is_named(snapshot: Path, tmp_path: Path) -> None:
    drawn = [replace(r, provenance=DRAWN) if r.site == "site-0" else r for r in read_snapshot(snapshot).records]
    of_site = {r.patient for r in drawn if r.site == "site-0"}
    assert not of_site & set(folds.deal(in_memory(drawn), of(snapshot, tmp_path)))
    assert of_site == set(folds.deal(in_memory(drawn), of(snapshot, tmp_path, 3, "site-0")))


@pytest.mark.parametrize(
    ("count", "sites", "only", "said"),
    [
        (1, (), 0, "at least 2"),
        (0, (), 0, "at least 2"),
        (3, (), 4, "no fold 4 of 3"),
        (60, (), 0, "cannot be divided"),
        (2, ("site-9",), 0, "no site 'site-9'; it has site-0, site-1"),
    ],
)
def test_what_cannot_be_divided_is_refused(
    snapshot: Path, tmp_path: Path, count: int, sites: tuple[str, ...], only: int, said: str
) -> None:
    with pytest.raises(TrainingRefused, match=said):
        folds.train_all(of(snapshot, tmp_path, count, *sites), CONFIG, RECIPES, untouched, only=only)
    assert not list(tmp_path.iterdir())


def test_a_fold_that_cannot_be_trained_is_refused_before_the_first_is(snapshot: Path, tmp_path: Path) -> None:
    data = read_snapshot(snapshot)
    last = {patient for patient, fold in folds.deal(data, of(snapshot, tmp_path)).items() if fold == 3}
    kinds = [r for r in data.records if r.patient not in last or r.kind == "regular"]
    lopsided = toys.write_snapshot(tmp_path / "lopsided", kinds)
    with pytest.raises(TrainingRefused, match="Fold 3 of 3 cannot be trained: The test split has"):
        folds.train_all(of(lopsided, tmp_path / "out"), CONFIG, RECIPES, untouched)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("fresh", "parts"), [(False, config.PARTS), (True, ("detector",)), (True, ("resnest", "detector"))])
def test_a_start_bundle_whose_classifiers_may_have_seen_the_patients_is_refused(
    snapshot: Path, tmp_path: Path, fresh: bool, parts: tuple[str, ...]
) -> None:
    with pytest.raises(TrainingRefused, match="may have learned from the patients"):
        folds.train_all(of(snapshot, tmp_path), replace(CONFIG, start="b", fresh=fresh, parts=parts), RECIPES, untouched)
    # Nor may a detector that is trained further have learned their boxes, from whichever bundle
    for begun in ({"start": "b", "anew": ("resnest", "deep_sad")}, {"weights_from": "b"}):
        with pytest.raises(TrainingRefused, match="may have learned from the patients"):
            folds.train_all(of(snapshot, tmp_path), replace(CONFIG, **begun), RECIPES, untouched)


def test_a_folder_of_other_folds_is_refused_before_anything_is_trained(snapshot: Path, tmp_path: Path) -> None:
    data = read_snapshot(snapshot)
    folds.divide(data, of(snapshot, tmp_path / "out", 2), 1)
    with pytest.raises(TrainingRefused, match="holds folds of another"):
        folds.train_all(of(snapshot, tmp_path / "out", 3), CONFIG, RECIPES, untouched, only=3)
    corrected = [replace(r, kind=Kind.GREEN_FILTER) if r is data.records[0] else r for r in data.records]
    with pytest.raises(TrainingRefused, match="holds folds of another"):
        folds.prepare(in_memory(corrected), of(snapshot, tmp_path / "out", 2), CONFIG, RECIPES)


def test_what_a_killed_process_left_half_written_is_written_anew(snapshot: Path, tmp_path: Path) -> None:
    order, data = of(snapshot, tmp_path), read_snapshot(snapshot)
    half = order.place(1) / "snapshot"
    (half / "images").mkdir(parents=True)
    (half / "images" / f"{data.records[0].sha256}.png").write_bytes(b"\x89PNG")
    (half / "snapshot.json.part").write_text('{"name": ')
    whole = read_snapshot(folds.divide(data, order, 1))
    assert len(whole.records) == len(data.records)
    assert (half / "images" / f"{data.records[0].sha256}.png").read_bytes() == data.records[0].path.read_bytes()


@pytest.mark.slow
def test_the_pooled_report_has_each_image_once_with_the_answer_of_the_bundle_that_never_saw_its_patient(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(config.PRESETS, "tiny", toys.TINY)
    out = tmp_path / "folds"
    asked = ["folds", str(snapshot), str(out), "--count", "2", "--preset", "tiny", "--threads", "1"]
    assert shell.main([*asked, "--only", "2"]) == 0
    assert "not trained yet: fold 1 of 2" in capsys.readouterr().out
    assert not (out / "report.json").exists()
    before = bundles.verify(out / "fold-2" / "run" / "bundle")[1]
    for otherwise in (["--seed", "8"], ["--resnest.epochs", "1"]):
        assert shell.main([*asked, *otherwise]) == 1
        assert "Fold 2 was trained by other settings" in capsys.readouterr().err

    assert shell.main(asked) == 0
    assert bundles.verify(out / "fold-2" / "run" / "bundle")[1] == before  # trained once
    report = json.loads((out / "report.json").read_text())
    images = {one["sha256"]: one for one in report["images"]}
    assert sorted(images) == sorted(r.sha256 for r in read_snapshot(snapshot).records)
    assert (report["split"], report["images_total"], report["patients_total"]) == ("folds", 108, 27)
    assert all(one["map"] is None for one in images.values())
    assert (report["composition"], report["review_points"], report["cost"]) == ([], [], None)
    assert report["auroc"]["value"] > 0.9
    assert "each image is judged by the one whose classifiers had not seen its patient" in (out / "report.html").read_text()

    for number in (1, 2):
        fold, bundle = read_snapshot(out / f"fold-{number}" / "snapshot"), out / f"fold-{number}" / "run" / "bundle"
        told = bundles.describe(bundle)
        assert (told.snapshot_hash, told.name) == (fold.hash, f"run, fold {number} of 2")
        assert not patients(fold.split("test")) & patients([r for r in fold.records if r.split != "test"])
        own = evaluation.evaluate(bundle, fold.folder, split="test")
        assert {one["sha256"]: one["p_non_regular"] for one in own.images} == {
            r.sha256: images[r.sha256]["p_non_regular"] for r in fold.split("test")
        }
        assert json.loads((out / f"fold-{number}" / "report.json").read_text())["images_total"] == own.images_total

    (out / "report.json").unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "training"]
    subprocess.run([*torchrun, *asked[:5], "--alone"], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=300)
    assert json.loads((out / "report.json").read_text())["images_total"] == 108

    order, first = of(snapshot, out, 2), out / "fold-1" / "run" / "bundle"
    other = {"seed": 8, "recipes": {}, "trained_parts": ["resnest", "deep_sad"], "start": "hash", "calibration_snapshot_hash": "hash"}
    assert sorted(other) == sorted(folds.ALIKE)
    as_trained = shutil.copytree(first, tmp_path / "as trained")
    for name, value in other.items():
        bundles.amend(as_trained, tmp_path / name, {name: value})
        shutil.rmtree(first)
        shutil.copytree(tmp_path / name, first)
        with pytest.raises(TrainingRefused, match=f"{name} differs"):
            folds.pooled(order)
    kept = shutil.copytree(tmp_path / "trained_parts", first, dirs_exist_ok=True)
    shutil.copytree(order.bundle(2), tmp_path / "second")
    second = order.bundle(2)
    shutil.rmtree(second)
    bundles.amend(tmp_path / "second", second, {"trained_parts": ["resnest", "deep_sad"]})
    without = folds.pooled(order)
    assert kept.is_dir()
    assert all(not one.detector and all(row["box_iou"] is None for row in one.images) for one in (without.whole, *without.each))
    shutil.rmtree(first)
    shutil.copytree(order.bundle(2), first)
    with pytest.raises(TrainingRefused, match="trained on another division"):
        folds.pooled(order)
    shutil.rmtree(first)
    with pytest.raises(TrainingRefused, match="No bundle yet for fold 1 of 2"):
        folds.pooled(order)


def patients(records: Sequence[Record]) -> set[str]:
    return {r.patient for r in records}
