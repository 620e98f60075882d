"""The quality part: fitted on some patients, limited on others, written as a new bundle, and measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from inference import bundle as bundles
from inference.api import Analyzer
from inference.bundle import BASELINE, BundleError
from inference.preprocess import Picture, crop_to, decode, region_of
from inference.quality import BLURRED, SIDE, TOO_DARK, Head, Judge, blur_features, measure, native
from inference.types import Analysis, DetectorState, Kind, Route
from tests.inference import toys as bundle_toys
from tests.training import toys
from training import __main__ as shell
from training import config, quality, quality_report
from training.augment import to_float
from training.config import QualityRecipe
from training.degrade import sensed, spoilt
from training.manifest import Record, Snapshot, read_development_data, read_snapshot
from training.types import TrainingRefused

torch.set_num_threads(1)
SIZES = ("mobileodt", "iarc-colposcopy")
RECIPE = QualityRecipe(images=12, held=12, scenes=12, strips=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return read_snapshot(toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_toys.write_bundle(tmp_path_factory.mktemp("bundles") / "plain")


@pytest.fixture(scope="module")
def judging(plain: Path, data: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "judging"
    quality.add_to(plain, data, out, RECIPE, seed=3)
    return out


def specimen(record: Record | None, fault: str, **measures: float) -> quality.Specimen:
    known = {"light": 0.8, "washed": 0.0, "glare_blob": 0.0, **measures}
    said = Analysis(
        bundle_hash="", width=9, height=9, detector_state=DetectorState.NONE, box=None, other_boxes=(), probabilities={}, p_non_regular=0.1,
        kind=Kind.REGULAR, deep_sad_distance=1.0, deep_sad_rank=0.5, embedding=(), quality=known, route=Route.REVIEW, reasons=(),
    )  # fmt: skip
    return quality.Specimen(record, fault, said)


def test_pictures_are_taken_from_every_site_alike_and_only_of_a_cervix(data: Snapshot) -> None:
    train = [replace(r, kind=Kind.NOT_CERVIX) if n % 5 == 0 else r for n, r in enumerate(data.split("train"))]
    picked = quality.chosen(train, 8, seed=1)
    assert [sum(r.site == site for r in picked) for site in ("site-0", "site-1")] == [4, 4]
    assert Kind.NOT_CERVIX not in {r.kind for r in picked}
    assert picked == quality.chosen(train, 8, seed=1) != quality.chosen(train, 8, seed=2)


def test_a_few_pictures_that_people_called_not_a_cervix_are_kept_for_testing(data: Snapshot) -> None:
    others = [replace(r, kind=Kind.NOT_CERVIX) for r in data.split("train") if r.site == "site-0"]
    assert len(quality.labelled(others)) == len(others) >= quality.LEAST_LABELLED
    assert quality.labelled(others[: quality.LEAST_LABELLED - 1]) == []
    assert quality.labelled([replace(r, provenance="automatic") for r in others]) == []


def test_the_heads_weights_are_for_raw_features() -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(100, 5, (80, 2)), rng.normal(120, 5, (80, 2))])
    head = quality.logistic(list(x), [False] * 80 + [True] * 80, 1.0)
    assert head.probability([100, 100]) < 0.05 < 0.95 < head.probability([120, 120])
    assert head.probability([110, 110]) == pytest.approx(0.5, abs=0.15)


def test_real_pictures_of_different_sizes_are_told_from_blurred_ones_better_by_size(real_data: Path) -> None:
    """Of another half of the patients: 224 px across at one site, 800 at the other."""
    features: dict[bool, list[Any]] = {False: [], True: []}
    blurred, patients = [], []
    rng = np.random.default_rng(7)
    for record in quality.chosen([r for r in read_development_data(real_data / "manifest.csv") if r.site in SIZES], 160, seed=1):
        sharp = np.asarray(decode(record.path).image)
        for pixels, fault in ((sharp, False), (spoilt(sharp, "defocus", rng), True), (spoilt(sharp, "shake", rng), True)):
            picture = Picture(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0])
            x0, y0, x1, y1 = region_of(picture, record.box)
            measures = {**measure(crop_to(picture, record.box, SIDE)), "native": native(x1 - x0, y1 - y0)}
            for by_size, rows in features.items():
                rows.append(blur_features(measures, by_size=by_size))
            blurred.append(fault)
            patients.append(record.patient)
    train = np.isin(patients, sorted(set(patients))[::2])
    truth = np.array(blurred)
    areas = {}
    for by_size, rows in features.items():
        head = quality.logistic([x for x, own in zip(rows, train, strict=True) if own], list(truth[train]), 1.0)
        areas[by_size] = roc_auc_score(truth[~train], [head.probability(x) for x, own in zip(rows, train, strict=True) if not own])
    assert 1 - areas[True] < 0.7 * (1 - areas[False])


def test_blur_of_real_pictures_is_told_better_by_texture(real_data: Path) -> None:
    """Of another half of the patients, where the clean pictures have noise and JPEG of their own, as the spoilt ones have."""
    network = Analyzer.open(BASELINE).resnest
    tried: dict[bool, list[Any]] = {False: [], True: []}
    blurred, patients = [], []
    rng = np.random.default_rng(7)
    for record in quality.chosen([r for r in read_development_data(real_data / "manifest.csv") if r.site in SIZES], 160, seed=1):
        sharp = np.asarray(decode(record.path).image)
        for pixels, fault in ((sensed(sharp, rng), False), (spoilt(sharp, "defocus", rng), True), (spoilt(sharp, "shake", rng), True)):
            picture = Picture(Image.fromarray(pixels), pixels.shape[1], pixels.shape[0])
            x0, y0, x1, y1 = region_of(picture, record.box)
            crop = crop_to(picture, record.box, SIDE)
            measures = {**measure(crop), "native": native(x1 - x0, y1 - y0)}
            with torch.inference_mode():
                texture = network.texture(to_float(torch.from_numpy(crop[None].copy())))[0].tolist()
            for by_texture, rows in tried.items():
                rows.append(blur_features(measures, by_size=True, texture=texture if by_texture else ()))
            blurred.append(fault)
            patients.append(record.patient)
    train, truth = np.isin(patients, sorted(set(patients))[::2]), np.array(blurred)
    errors = {}
    for by_texture, rows in tried.items():
        c = QualityRecipe().blur_c if by_texture else quality.PLAIN_C
        head = quality.logistic([x for x, own in zip(rows, train, strict=True) if own], list(truth[train]), c)
        errors[by_texture] = 1 - roc_auc_score(truth[~train], [head.probability(x) for x, own in zip(rows, train, strict=True) if not own])
    assert errors[True] < 0.7 * errors[False]


def test_clean_pictures_are_shown_with_the_noise_and_jpeg_of_spoilt_ones_too(data: Snapshot) -> None:
    records = quality.chosen(data.split("train"), 6, seed=1)
    plain = list(quality.clean_and_spoilt(records, 3))
    both = list(quality.clean_and_spoilt(records, 3, saved_again=True))
    assert [fault for _, fault, _ in both].count(quality.CLEAN) == 9
    again = [row for row in both if not any(row[1] == other[1] and row[2].image == other[2].image for other in plain)]
    assert [fault for _, fault, _ in again] == [quality.CLEAN] * 3
    # What is spoilt stays as it was
    assert len(both) == len(plain) + 3


def test_no_site_loses_more_of_its_clean_pictures_than_the_budget(data: Snapshot) -> None:
    first, second = (next(r for r in data.records if r.site == site) for site in ("site-0", "site-1"))
    lights = np.linspace(0.3, 0.9, 200)
    kept = [specimen(first, "clean", light=v) for v in lights] + [specimen(second, "clean", light=v + 0.1) for v in lights]
    # Faults that overlap with the clean ones: the budget decides, and the darker site has its say
    overlapping = kept + [specimen(first, "too_dark", light=v) for v in np.linspace(0.1, 0.5, 50)]
    limit = quality.limits_of(Head(0, ()), Head(0, ()), overlapping, codes=(TOO_DARK,)).too_dark
    assert np.mean(lights < limit) <= quality.BUDGET[TOO_DARK]
    # Faults far from them: half-way, so that neither is cut close
    apart = kept + [specimen(first, "too_dark", light=0.05) for _ in range(50)]
    assert 0.06 < quality.limits_of(Head(0, ()), Head(0, ()), apart, codes=(TOO_DARK,)).too_dark < 0.29


def test_the_part_comes_with_a_new_bundle_of_the_same_weights(plain: Path, judging: Path, data: Snapshot) -> None:
    before, after = bundles.verify(plain)[0], bundles.verify(judging)[0]
    assert before["files"] == after["files"]
    assert "quality" not in before
    assert json.loads(json.dumps(Judge.from_json(after["quality"]).as_json())) == after["quality"]
    # A card names its bundle's hash, so it is written anew
    assert f"`{bundles.verify(judging)[1]}`" in bundles.card_of(judging)
    assert "| quality | blur, glare, exposure, not a cervix |" in bundles.card_of(judging)
    with pytest.raises(BundleError, match="never overwritten"):
        quality.add_to(plain, data, judging, RECIPE, seed=3)


def test_the_same_seed_gives_the_same_part(plain: Path, judging: Path, data: Snapshot, tmp_path: Path) -> None:
    quality.add_to(plain, data, tmp_path / "again", RECIPE, seed=3)
    assert bundles.verify(tmp_path / "again")[1] == bundles.verify(judging)[1]


def test_a_snapshot_without_held_out_pictures_is_refused(plain: Path, data: Snapshot, tmp_path: Path) -> None:
    only = replace(data, records=tuple(data.split("train")))
    with pytest.raises(TrainingRefused, match="validation or calibration"):
        quality.add_to(plain, only, tmp_path / "no", RECIPE, seed=3)
    assert not (tmp_path / "no").exists()


def test_figures_count_every_picture_per_site_and_over_all(judging: Path, data: Snapshot) -> None:
    rows = quality_report.measure(judging, data, "test", images=12, seed=4)
    alarms = {row.site: row.interval for row in rows if (row.figure, row.what) == ("false alarms", "any finding")}
    assert alarms[quality_report.ALL].total == 12 == alarms["site-0"].total + alarms["site-1"].total
    assert alarms[quality_report.ALL].patients == 3
    blurred = next(row.interval for row in rows if row.what == "blurred on purpose" and row.site == quality_report.ALL)
    # Every picture twice spoilt, by the faults in turn: 5 of 8 are blurred
    assert blurred.total == 15
    assert {row.what for row in rows if row.figure == "recall"} >= {"defocus", "shake", "glare", "too_dark", "not a cervix, drawn"}


def test_the_shell_fits_and_measures(
    plain: Path, data: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(config.PRESETS, "tiny", toys.TINY)
    given = ["--preset", "tiny", "--images", "6", "--threads", "1"]
    assert shell.main(["quality", str(plain), str(data.folder), *given]) == 1
    assert "has no quality part" in capsys.readouterr().err
    out, figures = tmp_path / "out", tmp_path / "figures.json"
    assert shell.main(["quality", str(plain), str(data.folder), *given, "--out", str(out), "--json", str(figures)]) == 0
    assert "false alarms  any finding" in capsys.readouterr().out
    assert json.loads(figures.read_text())[0]["interval"]["total"] == 6
    assert "quality" in bundles.verify(out)[0]


def test_blur_is_judged_by_what_the_spoilt_pictures_lost(judging: Path, data: Snapshot) -> None:
    from inference.api import Analyzer

    analyzer = Analyzer.open(judging)
    assert analyzer.judge is not None
    seen = quality.look(analyzer, quality.clean_and_spoilt(quality.chosen(data.split("test"), 8, 1), 9))
    scores = {fault: [quality_report.score(analyzer.judge, BLURRED, s) for s in seen if s.fault == fault] for fault in ("clean", "defocus")}
    assert np.median(scores["defocus"]) > np.median(scores["clean"])
