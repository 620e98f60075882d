"""The whole recipe on a toy snapshot: a bundle that works, a kill that changes nothing, a cancel, a report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from inference import bundle as bundles
from inference.types import Analysis, Kind, Progress
from portal import ml
from tests.training import toys
from training import __main__ as shell
from training import card as cards
from training import config, own_card
from training import report as reports
from training.engine import Reporter
from training.manifest import read_snapshot
from training.methods import METHODS
from training.reproduction.pace import Pace, work
from training.types import Cancelled, TrainConfig, TrainingRefused

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(config.PRESETS, "tiny", toys.TINY)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap")


@pytest.fixture(scope="module")
def trained(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    config.PRESETS["tiny"] = toys.TINY
    seen: list[Progress] = []
    out = tmp_path_factory.mktemp("run")
    return ml.train(everything(), snapshot, out, report=seen.append, cancelled=lambda: False), seen


def everything(**changes: object) -> TrainConfig:
    return replace(TrainConfig(preset="tiny", parts=config.PARTS, threads=1, name="toy"), **changes)  # type: ignore[arg-type]


def test_a_run_ends_with_a_bundle_that_analyses(trained: tuple[Path, list[Progress]], snapshot: Path) -> None:
    bundle, _seen = trained
    info = bundles.describe(bundle)
    assert (info.name, info.snapshot_hash) == ("toy", json.loads((snapshot / "snapshot.json").read_text())["hash"])
    answer = ml.analyse([next((snapshot / "images").iterdir())], bundle)[0]
    assert isinstance(answer, Analysis)
    assert {"blur", "not_a_cervix"} <= set(answer.quality)


def test_a_run_leaves_a_card_of_what_it_knew(trained: tuple[Path, list[Progress]], snapshot: Path) -> None:
    about, digest = bundles.verify(trained[0])
    card = bundles.card_of(trained[0])
    assert card == own_card.text(about, digest)
    assert f"`{digest}`" in card
    # No hash covers it, as it names the bundle's
    assert bundles.CARD not in about["files"]
    assert about["data"]["images"] == len(read_snapshot(snapshot).records) == 84
    own = about["metrics"]["refit"]["chosen_and_calibrated_by"]
    assert (own["auroc"]["total"], own["auroc"]["patients"], own["sensitivity"]["total"]) == (24, 6, 12)
    assert f"| auroc | {own['auroc']['value']:.3f} (" in card
    assert str(trained[0].parent) not in card


def test_a_bundle_that_is_fitted_anew_has_a_card_of_its_own(trained: tuple[Path, list[Progress]], snapshot: Path, tmp_path: Path) -> None:
    assert shell.main(["refit", str(trained[0]), str(snapshot), str(tmp_path / "again")]) == 0
    about, digest = bundles.verify(tmp_path / "again")
    card = bundles.card_of(tmp_path / "again")
    assert card == own_card.text(about, digest)
    assert bundles.verify(trained[0])[1] not in card
    assert f"Fitted anew after the training, on the snapshot of hash `{about['calibration_snapshot_hash']}`." in card


def test_progress_only_grows_and_ends_at_one(trained: tuple[Path, list[Progress]]) -> None:
    fractions = [progress.fraction for progress in trained[1]]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert {progress.stage for progress in trained[1]} >= {"detector", "resnest", "autoencoder", "deep_sad", "calibration", "quality"}
    assert trained[1][-2].seconds_left is None or trained[1][-2].seconds_left >= 0


def test_the_classes_are_learned_and_the_report_says_so(trained: tuple[Path, list[Progress]], snapshot: Path) -> None:
    report = ml.evaluate(trained[0], snapshot)
    json.dumps(asdict(report))
    assert (report.images_total, report.patients_total) == (12, 3)
    assert report.auroc is not None
    assert report.auroc.value > 0.9
    assert sum(map(sum, report.confusion)) == 12
    assert [sum(row) for row in report.confusion] == [6, 3, 3]
    assert report.figures["sensitivity"].total == 6
    assert set(report.per_site) == {"site-0", "site-1"}
    assert set(report.per_kind) == {"regular", "green_filter", "lugol_iodine"}
    assert {"iou", "containment", "found", "found_green_filter"} <= set(report.detector)
    assert len(report.images) == 12


def test_the_parts_that_are_not_trained_are_kept(trained: tuple[Path, list[Progress]], snapshot: Path, tmp_path: Path) -> None:
    given = everything(start=str(trained[0]), parts=("resnest", "deep_sad"))
    bundle = ml.train(given, snapshot, tmp_path / "run", report=lambda _: None, cancelled=lambda: False)
    assert bundles.sha256(bundle / "detector.safetensors") == bundles.sha256(trained[0] / "detector.safetensors")
    assert bundles.sha256(bundle / "resnest.safetensors") != bundles.sha256(trained[0] / "resnest.safetensors")


def test_a_cancelled_run_stops_and_continues_later(snapshot: Path, tmp_path: Path, trained: tuple[Path, list[Progress]]) -> None:
    stages: list[str] = []
    with pytest.raises(Cancelled):
        ml.train(everything(), snapshot, tmp_path, report=lambda p: stages.append(p.stage), cancelled=lambda: "resnest" in stages)
    assert not (tmp_path / "bundle").exists()
    bundle = ml.train(everything(), snapshot, tmp_path, report=lambda _: None, cancelled=lambda: False)
    assert same_weights(bundle, trained[0])


def test_a_killed_run_ends_with_the_weights_it_would_have_had(snapshot: Path, tmp_path: Path, trained: tuple[Path, list[Progress]]) -> None:
    code = (
        "from tests.training.test_train import *\n"
        "config.PRESETS['tiny'] = toys.TINY\n"
        f"ml.train(everything(), Path({str(snapshot)!r}), Path({str(tmp_path)!r}), report=lambda _: None, cancelled=lambda: False)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    wait_for(tmp_path / "resnest.ckpt", child)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "bundle").exists()
    bundle = ml.train(everything(), snapshot, tmp_path, report=lambda _: None, cancelled=lambda: False)
    assert same_weights(bundle, trained[0])


def wait_for(path: Path, child: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert child.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)


def same_weights(one: Path, other: Path) -> bool:
    for part in bundles.PARTS:
        left, right = load_file(one / f"{part}.safetensors"), load_file(other / f"{part}.safetensors")
        if not all(torch.equal(left[name], right[name]) for name in left):
            return False
    return True


def test_a_folder_of_another_run_is_refused(snapshot: Path, trained: tuple[Path, list[Progress]]) -> None:
    with pytest.raises(TrainingRefused, match="another run"):
        ml.train(everything(seed=8), snapshot, trained[0].parent, report=lambda _: None, cancelled=lambda: False)


def test_a_finished_run_is_not_trained_again(snapshot: Path, trained: tuple[Path, list[Progress]]) -> None:
    before = (trained[0] / "bundle.json").stat().st_mtime_ns
    assert ml.train(everything(), snapshot, trained[0].parent, report=lambda _: None, cancelled=lambda: False) == trained[0]
    assert (trained[0] / "bundle.json").stat().st_mtime_ns == before


def test_a_loss_that_is_no_number_is_refused(snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = replace(toys.TINY, resnest=replace(toys.TINY.resnest, lr=float("inf")))
    monkeypatch.setitem(config.PRESETS, "tiny", broken)
    with pytest.raises(TrainingRefused, match=r"loss of resnest|ResNeSt gives scores"):
        ml.train(everything(), snapshot, tmp_path, report=lambda _: None, cancelled=lambda: False)


def test_mixed_up_labels_are_caught_before_a_bundle_is_written(tmp_path: Path, trained: tuple[Path, list[Progress]]) -> None:
    records = toys.records(tmp_path / "made")
    swap = {Kind.REGULAR: Kind.GREEN_FILTER, Kind.GREEN_FILTER: Kind.REGULAR, Kind.LUGOL_IODINE: Kind.REGULAR}
    records = [replace(r, kind=swap[r.kind]) if r.split in ("validation", "calibration") else r for r in records]
    folder = toys.write_snapshot(tmp_path / "snap", records)
    given = everything(start=str(trained[0]), parts=("deep_sad",))
    with pytest.raises(TrainingRefused, match="AUROC"):
        ml.train(given, folder, tmp_path / "run", report=lambda _: None, cancelled=lambda: False)
    assert not (tmp_path / "run" / "bundle").exists()


def test_a_split_without_pictures_cannot_be_evaluated(trained: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    records = [r for r in toys.records(tmp_path / "made") if r.split != "calibration"]
    with pytest.raises(TrainingRefused, match="nothing can be measured"):
        ml.evaluate(trained[0], toys.write_snapshot(tmp_path / "snap", records), split="calibration")


def test_a_bundle_is_published_with_what_its_siblings_and_its_parts_show(
    trained: tuple[Path, list[Progress]], snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, made, report, parts = str(trained[0]), tmp_path / "shipped", tmp_path / "report.json", tmp_path / "parts.json"
    assert shell.main(["evaluate", bundle, str(snapshot), "--json", str(report)]) == 0
    assert shell.main(["ablation", bundle, str(snapshot), "--untinted", bundle, "--json", str(parts)]) == 0
    rows = {row["name"]: row for row in json.loads(parts.read_text())}
    assert len(rows) == 5
    assert all((row["images"], row["patients"]) == (12, 3) for row in rows.values())
    # The same networks under both names, and the report's own figure where the report's own score is used
    first, second, deep_sad, fused, beside = rows.values()
    assert first["auroc"] == second["auroc"]
    assert deep_sad["name"] == "Deep SAD alone"
    assert deep_sad["auroc"] != second["auroc"] or deep_sad["points"] != second["points"]
    assert beside["auroc"] == json.loads(report.read_text())["auroc"]
    assert len({fused["name"], beside["name"]}) == 2
    folded = tmp_path / "folded.json"
    folded.write_text(json.dumps({**json.loads(report.read_text()), "split": "folds"}))
    # A sibling's report: of a snapshot that has the site in the test split alone
    whole = json.loads(report.read_text())
    rows_left = [row for row in whole["composition"] if row["site"] != "site-0" or row["split"] == "test"]
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({**whole, "composition": rows_left}))
    notes = tmp_path / "notes.md"
    notes.write_text("- The detector has seen two pictures of it.")
    told = [
        "--left-out",
        f"site-0={kept}",
        "--notes",
        str(notes),
        "--test",
        str(report),
        "--folds",
        str(folded),
        "--ablation",
        str(parts),
        "--name",
        "shipped",
    ]
    assert shell.main(["publish", bundle, str(made), *told]) == 0
    about, digest = bundles.verify(made)
    assert capsys.readouterr().out.strip().endswith(digest)
    assert about["name"] == "shipped"
    assert about["metrics"]["leave_one_source_out"]["site-0"]["patients"] == 3
    assert about["recipes"]["resnest"]["size"] == toys.TINY.resnest.size
    card = (made / bundles.CARD).read_text(encoding="utf-8")
    assert f"`{digest}`" in card
    # The bundle itself knows the site, as a sibling does that kept a part of one
    assert about["metrics"]["leave_one_source_out"]["site-0"]["kept_part"] is True
    assert "`site-0` left out of training" in card
    assert "| Deep SAD alone |" in card
    assert "start weights | random" in card
    assert card.index("## Figures: shipped weights, patient split") < card.index("## Figures: folds by patient")
    own = "| site, by a threshold set on its own images here | AUROC | found at 98% specificity | found at 99% specificity |"
    # both reports are of the same two sites; the source left out has the table too, as here its report is that one again
    assert card.count(own) == 3
    assert str(tmp_path) not in card
    assert "has seen two pictures" in card
    never = {**json.loads(kept.read_text()), "held_out": ["site-0"]}
    assert "kept_part" not in reports.digest(never, "site-0")
    assert "`site-0` never seen" in cards.write(made, {"site-0": never}, {})
    # The networks are the same, and a bundle is never overwritten
    assert bundles.sha256(made / "resnest.safetensors") == bundles.sha256(trained[0] / "resnest.safetensors")
    assert shell.main(["publish", bundle, str(made), *told]) == 1
    assert shell.main(["publish", bundle, str(tmp_path / "other"), "--left-out", "site-0"]) == 1
    for wrong in (["--folds", str(report)], ["--test", str(folded)]):
        assert shell.main(["publish", bundle, str(tmp_path / "other"), *wrong]) == 1
    assert not (tmp_path / "other").exists()
    # Refused as a sibling's: one that trained on the source, one of other sources, one that kept a part of which nothing is told
    capsys.readouterr()
    for given, why in (
        (f"site-0={report}", "nothing was left out"), (f"site-O={kept}", "no figures of site-O"), (f"site-0={kept}", "Say in --notes"),
    ):  # fmt: skip
        assert shell.main(["publish", bundle, str(tmp_path / "other"), "--left-out", given]) == 1
        assert why in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_time_left_does_not_count_what_was_done_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lines: list[Progress] = []
    reporter = Reporter(lines.append, lambda: False, {"reading": 1.0, "detector": 99.0})
    reporter.at("reading", 0.0, "")
    clock[0] += 10
    reporter.continues("detector", 50 / 99)
    clock[0] += 60
    reporter.at("detector", 60 / 99, "")
    assert lines[-1].fraction == pytest.approx(0.61)
    assert lines[-1].seconds_left == pytest.approx(60 / 0.10 * 0.39)


def test_time_left_of_an_experiment_counts_what_is_trained_here_and_what_each_training_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    lines: list[Progress] = []
    pace = Pace({"detector": 1000.0, "deep_sad": 100.0, "resnest": 300.0}, lines.append)
    # The detector's checkpoint was there already; Deep SAD goes on from one, ten minutes into this process
    clock[0] += 600
    reporter = Reporter(pace.of("deep_sad"), lambda: False, {"autoencoder": 60, "deep_sad": 40})
    reporter.continues("autoencoder", 0.5)
    clock[0] += 60
    reporter.at("autoencoder", 40 / 60, "")
    # A tenth in 60 s: 360 s for the rest of it, and three times the whole of it for the other
    assert lines[-1].fraction == pytest.approx(1040 / 1400)
    assert lines[-1].seconds_left == pytest.approx(360 + 3 * 600)
    # The other turns out to be twice as slow as thought: itself counts
    reporter = Reporter(pace.of("resnest"), lambda: False, {"resnest": 1})
    reporter.at("resnest", 0.0, "")
    assert lines[-1].seconds_left is None
    clock[0] += 360
    reporter.at("resnest", 0.1, "")
    assert lines[-1].seconds_left == pytest.approx(360 * 9)


def test_a_recipe_of_more_passes_or_pixels_costs_more() -> None:
    sad, resnest, lite = (METHODS[name] for name in ("deep_sad", "resnest_32", "retinanet_lite"))
    assert work(sad.recipe("paper"), 2000) > 5 * work(sad.recipe("default"), 2000)
    assert work(resnest.recipe("paper"), 2000) == pytest.approx(4 * work(resnest.recipe("default"), 2000))
    assert work(METHODS["resnest_224"].recipe("paper"), 2000) == pytest.approx(49 * work(resnest.recipe("paper"), 2000))
    # This many pictures an epoch, however many there are
    assert work(lite.recipe("default"), 2000) == work(lite.recipe("default"), 4000)
    assert work(METHODS["deep_sad_no_ae"].recipe("paper"), 2000) == pytest.approx(work(sad.recipe("paper"), 2000) / 2.7)
