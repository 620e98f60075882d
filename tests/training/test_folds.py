"""Folds by patient: everybody is tested once, by a bundle that never saw them; two real trainings from the shell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from inference import bundle as bundles
from tests.training import toys
from training import __main__ as shell
from training import config, folds
from training.manifest import Record, read_snapshot
from training.types import TrainingRefused


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap")


def of(snapshot: Path, out: Path, count: int = 3, *sites: str) -> folds.Folds:
    return folds.Folds(snapshot, out, count, sites)


def splits(folder: Path) -> dict[str, str]:
    return {r.patient: r.split for r in read_snapshot(folder).records}


def test_every_patient_is_tested_in_one_fold_and_trains_or_chooses_in_the_others(snapshot: Path, tmp_path: Path) -> None:
    order, data = of(snapshot, tmp_path), read_snapshot(snapshot)
    before = splits(snapshot)
    each = [splits(folds.divide(data, order, number)) for number in order.numbers()]
    for patient, split in before.items():
        others = [fold[patient] for fold in each if fold[patient] != "test"]
        assert len(others) == 2
        assert set(others) == {"train" if split == "test" else split}
    assert {sum(split == "test" for split in fold.values()) for fold in each} == {7}


def test_patients_of_sites_that_are_not_asked_for_stay_where_they_are(snapshot: Path, tmp_path: Path) -> None:
    order, data = of(snapshot, tmp_path, 2, "site-1"), read_snapshot(snapshot)
    elsewhere = {r.patient for r in data.records if r.site == "site-0"}
    fold, before = splits(folds.divide(data, order, 1)), splits(snapshot)
    assert {patient: fold[patient] for patient in elsewhere} == {patient: before[patient] for patient in elsewhere}
    assert {fold[r.patient] for r in data.records if r.site == "site-1"} >= {"train", "test"}


def test_one_pseudonym_at_two_sites_is_tested_in_one_fold(tmp_path: Path) -> None:
    made = toys.records(tmp_path / "made")
    shared = [replace(r, patient="both", exam="both", split="train") if r.patient in {"train-0", "train-1"} else r for r in made]
    order = of(toys.write_snapshot(tmp_path / "snap", shared), tmp_path / "out", 2)
    data = read_snapshot(order.snapshot)
    for number in order.numbers():
        fold = read_snapshot(folds.divide(data, order, number))
        assert len({r.split for r in fold.records if r.patient == "both"}) == 1


@pytest.mark.parametrize(
    ("count", "sites", "said"),
    [(1, (), "at least 2"), (30, (), "cannot be divided"), (2, ("site-9",), "no site site-9; it has site-0, site-1")],
)
def test_what_cannot_be_divided_is_refused(snapshot: Path, tmp_path: Path, count: int, sites: tuple[str, ...], said: str) -> None:
    with pytest.raises(TrainingRefused, match=said):
        folds.train_all(of(snapshot, tmp_path, count, *sites), lambda _snapshot, _out: pytest.fail("nothing may be trained"))


@pytest.mark.slow
def test_the_pooled_report_has_each_image_once_with_the_answer_of_a_bundle_that_never_saw_its_patient(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(config.PRESETS, "tiny", toys.TINY)
    monkeypatch.setitem(toys.PATIENTS, "train", 18)
    snapshot, tmp_path = toys.write_snapshot(tmp_path / "snap"), tmp_path / "folds"
    asked = ["folds", str(snapshot), str(tmp_path), "--count", "2", "--preset", "tiny", "--threads", "1"]
    assert shell.main([*asked, "--only", "2"]) == 0
    assert "not trained yet: fold 1 of 2" in capsys.readouterr().out
    assert not (tmp_path / "report.json").exists()
    before = bundles.verify(tmp_path / "fold-2" / "run" / "bundle")[1]

    assert shell.main(asked) == 0
    assert bundles.verify(tmp_path / "fold-2" / "run" / "bundle")[1] == before  # trained once
    report = json.loads((tmp_path / "report.json").read_text())
    images = report["images"]
    assert sorted(one["sha256"] for one in images) == sorted(r.sha256 for r in read_snapshot(snapshot).records)
    assert (report["split"], report["images_total"], report["patients_total"]) == ("folds", 108, 27)
    assert all(one["map"] is None for one in images)
    for number in (1, 2):
        fold = read_snapshot(tmp_path / f"fold-{number}" / "snapshot")
        hashed = bundles.describe(tmp_path / f"fold-{number}" / "run" / "bundle").snapshot_hash
        assert hashed == fold.hash
        assert not _patients(fold.split("test")) & _patients([r for r in fold.records if r.split != "test"])
    assert report["auroc"]["value"] > 0.9
    assert (tmp_path / "report.html").exists()

    assert shell.main(["folds", str(snapshot), str(tmp_path), "--count", "3", "--preset", "tiny", "--threads", "1", "--only", "1"]) == 1
    assert "holds folds of another" in capsys.readouterr().err


def _patients(records: list[Record]) -> set[str]:
    return {r.patient for r in records}
