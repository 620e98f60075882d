"""The paper's experiment in a short form: every classifier by both presets on a toy collection, its tables, its report, its refusals."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inference.types import Kind, Progress
from tests.training import toys
from training.config import DeepSADRecipe, DetectorRecipe, ResNeStRecipe
from training.manifest import AUTOMATIC, Record
from training.methods import METHODS, Recipe
from training.metrics import wilson
from training.reproduction import quick
from training.reproduction.collection import one_side, read, role_of
from training.reproduction.paper import PUBLISHED
from training.reproduction.run import Order, begun_from, not_run, reproduce, runs_of
from training.types import TrainingRefused

SITE_OF = {"train": "alpha", "validation": "beta", "calibration": "beta", "test": "gamma"}
ROLES = {"train": ["alpha"], "validation": ["beta"], "test": ["gamma"]}
CLASSIFIERS = tuple(name for name, method in METHODS.items() if method.part != "detector")


def tiny(recipe: Recipe) -> Recipe:
    """Seconds instead of minutes; what makes the method stays."""
    if isinstance(recipe, DetectorRecipe):
        return replace(recipe, arch="retinanet_lite", backbone="test_resnet", size=128, channels=16, epochs=1, batch=8, epoch_images=16)
    if isinstance(recipe, ResNeStRecipe):
        return replace(recipe, backbone="test_resnet", size=32, epochs=2, batch=8, epoch_images=48, lr=3e-3)
    if isinstance(recipe, DeepSADRecipe):
        return replace(recipe, epochs=2, ae_epochs=1, lr=1e-3, ae_lr=1e-3)
    return replace(recipe, width=16, dimensions=8, views=1, epochs=3, batch=16)


def collection(folder: Path, changed: list[Record] | None = None) -> Path:
    records = toys.records(folder / "made") if changed is None else changed
    toys.write_snapshot(folder / "snap", [replace(r, site=SITE_OF[r.split]) for r in records])
    return folder / "snap" / "manifest.csv"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress], Order]:
    folder = tmp_path_factory.mktemp("reproduction")
    methods = ("retinanet_lite", *CLASSIFIERS)
    order = Order(collection(folder), ROLES, folder / "out", methods=methods, quick=True, shrink=tiny)
    seen: list[Progress] = []
    reproduce(order, report=seen.append, cancelled=lambda: False)
    return order.out, seen, order


def rows_of(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_all_eight_tables_are_written(done: tuple[Path, list[Progress], Order]) -> None:
    assert {path.stem for path in (done[0] / "tables").iterdir()} == {*(f"table-{n}" for n in range(1, 9)), "detectors"}


def test_images_and_patients_are_counted_by_split_site_and_class(done: tuple[Path, list[Progress], Order]) -> None:
    first = {row["split"]: row for row in rows_of(done[0], "table-1")}
    assert (first["train"]["regular, images"], first["train"]["green_filter, images"], first["train"]["all, patients"]) == (
        "24",
        "12",
        "12",
    )
    assert (first["test"]["all, images"], first["test"]["all, patients"]) == ("12", "3")
    assert [(row["site"], row["lugol_iodine"]) for row in rows_of(done[0], "table-3")] == [("alpha", "12"), ("beta", "6"), ("gamma", "3")]
    assert [(row["split"], row["site"]) for row in rows_of(done[0], "table-4")] == [
        ("train", "alpha"), ("validation", "beta"), ("test", "gamma"),
    ]  # fmt: skip


def test_every_classifier_is_measured_by_both_presets(done: tuple[Path, list[Progress], Order]) -> None:
    out, _, _ = done
    lines = rows_of(out, "table-6") + rows_of(out, "table-8")
    measured = {(row["method"], row["preset"]) for row in lines}
    refused = re.findall(r"(\w+) \((paper|default)\) gave no result", (out / "report.html").read_text(encoding="utf-8"))
    assert measured | set(refused) == {(name, preset) for name in CLASSIFIERS for preset in ("paper", "default")}
    assert len(measured) >= 10
    for row in lines:
        if row["figure"] == "sensitivity":
            mine = wilson(int(row["hits"]), int(row["total"]), 3)
            assert float(row["wilson_low"]) == pytest.approx(mine.low)
            assert float(row["by_patient_low"]) <= float(row["value"]) <= float(row["by_patient_high"])


def test_the_detectors_figures_have_both_intervals_and_count_patients(done: tuple[Path, list[Progress], Order]) -> None:
    lines = rows_of(done[0], "detectors")
    assert {(row["detector"], row["preset"]) for row in lines} == {("retinanet_lite", "default")}
    told = {row["figure"]: row for row in lines}
    assert len(told) == len(lines)
    for name, row in told.items():
        if name == "found where there is no cervix":
            assert (row["value"], row["total"], row["patients"]) == ("", "0", "0")
            continue
        assert int(row["patients"]) == 3
        assert float(row["by_patient_low"]) <= float(row["value"]) <= float(row["by_patient_high"])
        assert (row["wilson_low"] == "") == name.startswith(("mean IoU", "AP50"))
    # Six regular pictures of three patients have a box: so many green copies were looked at
    assert told["IoU of a half or more, tinted copies"]["total"] == told["IoU of a half or more, regular"]["total"] == "6"


def test_performance_and_confusion_agree(done: tuple[Path, list[Progress], Order]) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for row in rows_of(done[0], "table-5") + rows_of(done[0], "table-7"):
        if row["true class"] != "regular":
            found[row["method"], row["preset"]] += int(row["answered non-regular"])
    for row in rows_of(done[0], "table-6") + rows_of(done[0], "table-8"):
        if row["figure"] == "sensitivity":
            assert found[row["method"], row["preset"]] == int(row["hits"])


def test_the_papers_own_figures_stand_beside(done: tuple[Path, list[Progress], Order]) -> None:
    row = next(r for r in rows_of(done[0], "table-6") if (r["method"], r["figure"]) == ("deep_sad", "sensitivity"))
    assert (row["paper_hits"], row["paper_total"], f"{float(row['paper_value']):.3f}") == ("94", "101", "0.931")
    assert f"{PUBLISHED['deep_sad'].figures()['accuracy'].value:.3f}" == "0.983"


def test_the_report_is_one_file_with_all_figures(done: tuple[Path, list[Progress], Order]) -> None:
    page = (done[0] / "report.html").read_text(encoding="utf-8")
    assert "Quick form" in page
    assert "Tested on 12 images of 3 patients, labelled by people." in page
    assert page.count("draws whole patients") == 1
    for number in (3, 4, 5, 6):
        assert f"Figure {number}: " in page
    assert "Figure 7: resnest_224 (paper)" in page
    assert "Figure 8: resnest_224 (default)" in page
    assert "data:image/jpeg;base64," in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_report_to_be_passed_on_holds_no_picture(done: tuple[Path, list[Progress], Order]) -> None:
    target = reproduce(replace(done[2], pictures=False), report=lambda _: None, cancelled=lambda: False)
    page = target.read_text(encoding="utf-8")
    assert "data:image" not in page
    assert "Figure 6: " in page


def test_progress_only_grows(done: tuple[Path, list[Progress], Order]) -> None:
    fractions = [progress.fraction for progress in done[1]]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.9


def test_a_folder_of_another_experiment_is_refused(done: tuple[Path, list[Progress], Order]) -> None:
    with pytest.raises(TrainingRefused, match="another experiment"):
        reproduce(replace(done[2], seed=8), report=lambda _: None, cancelled=lambda: False)


def test_the_quick_form_keeps_what_makes_a_method() -> None:
    for method in METHODS.values():
        for preset in ("paper", "default"):
            full, small = method.recipe(preset), quick.shrunk(method.recipe(preset))
            # `views` of a head is a number that the quick form lowers; of ResNeSt it is the paper's way of cropping
            words = ("views",) if isinstance(full, ResNeStRecipe) else ()
            for name in (*words, "objective", "optimizer", "ae_init", "unsupervised", "augment", "balanced", "loss", "arch"):
                assert getattr(full, name, None) == getattr(small, name, None)


def test_heads_come_after_the_network_they_stand_on(tmp_path: Path) -> None:
    runs = runs_of(Order(tmp_path, ROLES, tmp_path, methods=("deep_sad_224", "resnest_224", "retinanet_lite")))
    assert [run.method.name for run in runs[::2]] == ["retinanet_lite", "resnest_224", "deep_sad_224"]


def test_a_method_is_trained_by_one_preset_alone_where_one_is_named(tmp_path: Path) -> None:
    names = ("retinanet_lite:default", "deep_sad:paper", "deep_sad", "timm:resnet10t:small", "timm:resnet10t")
    keys = [run.key for run in runs_of(Order(tmp_path, ROLES, tmp_path, methods=names))]
    assert keys == [
        ("retinanet_lite", "default"), ("timm:resnet10t", "small"), ("timm:resnet10t", "paper"), ("timm:resnet10t", "default"),
        ("deep_sad", "paper"), ("deep_sad", "default"),
    ]  # fmt: skip


def test_a_backbone_starts_from_the_weights_that_are_given_for_it_and_an_unused_one_is_refused(tmp_path: Path) -> None:
    order = Order(tmp_path, ROLES, tmp_path, methods=("retinanet_v2", "resnest_32:paper", "deep_sad:paper"), weights={"resnet50": "hub"})
    runs = runs_of(order)
    begun = {run.key: getattr(run.recipe, "weights", None) for run in runs}
    assert begun == {
        ("retinanet_v2", "paper"): "hub", ("retinanet_v2", "default"): "hub", ("resnest_32", "paper"): "", ("deep_sad", "paper"): None,
    }  # fmt: skip
    assert begun_from(runs) == "Started from ImageNet weights: resnet50; all others from random ones."
    assert begun_from(runs_of(replace(order, weights={}))) == ""
    for wrong, why in (("", "says nothing"), (str(tmp_path / "typo.safetensors"), "There is no file")):
        with pytest.raises(TrainingRefused, match=why):
            runs_of(replace(order, weights={"resnet50": wrong}))
    with pytest.raises(TrainingRefused, match=r"backbone resnet18; --weights is for resnest50d, resnet50\."):
        runs_of(replace(order, weights={"resnet18": "hub"}))


def test_start_weights_of_another_backbone_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    save_file({"stem.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    seen: list[Progress] = []
    order = Order(
        collection(tmp_path), ROLES, tmp_path / "out", methods=("retinanet_lite:default", "timm:test_resnet:default"), quick=True,
        shrink=tiny, weights={"test_resnet": str(tmp_path / "other.safetensors")},
    )  # fmt: skip
    with pytest.raises(TrainingRefused, match="holds no weights for test_resnet"):
        reproduce(order, report=seen.append, cancelled=lambda: False)
    assert seen == []
    assert not (tmp_path / "out" / "runs").exists()


def test_both_presets_of_v2_show_a_photograph_with_a_short_side_of_512_pixels_or_more() -> None:
    """METHODS 2; a 4:3 photograph on the square canvas."""
    for preset in ("paper", "default"):
        recipe = METHODS["retinanet_v2"].recipe(preset)
        assert isinstance(recipe, DetectorRecipe)
        assert recipe.size * 3 / 4 >= 512


def test_the_report_says_which_methods_were_not_trained(done: tuple[Path, list[Progress], Order], tmp_path: Path) -> None:
    assert "Not trained here: retinanet_v2 (paper)." in (done[0] / "report.html").read_text(encoding="utf-8")
    whole = Order(tmp_path, ROLES, tmp_path)
    assert not_run(runs_of(whole), whole) == ""
    others = [name for name in METHODS if name != "deep_svdd"]
    part = Order(tmp_path, ROLES, tmp_path, methods=(*others, "deep_svdd:default"))
    assert not_run(runs_of(part), part) == "deep_svdd (paper)"


def test_the_quick_form_leaves_out_no_preset_that_was_named_and_refuses_to_train_nothing(tmp_path: Path) -> None:
    order = Order(tmp_path / "gone.csv", ROLES, tmp_path, methods=("retinanet_v2:default", "deep_sad:paper"), quick=True)
    assert [run.key for run in runs_of(order)] == [("retinanet_v2", "default"), ("deep_sad", "paper")]
    nothing = replace(order, methods=("retinanet_v2",), presets=("default",))
    with pytest.raises(TrainingRefused, match="nothing would be trained"):
        reproduce(nothing, report=lambda _: None, cancelled=lambda: False)


# --- the collection ---------------------------------------------------------------------------------------------------------------


def refusal(tmp_path: Path, records: list[Record] | None = None, **roles: list[str]) -> str:
    with pytest.raises(TrainingRefused) as refused:
        read(collection(tmp_path, records), {**ROLES, **roles})
    return str(refused.value)


def test_a_site_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "no site 'delta'; it has alpha, beta, gamma" in refusal(tmp_path, test=["delta"])


def test_a_test_site_without_positives_is_refused(tmp_path: Path) -> None:
    records = [r for r in toys.records(tmp_path / "made") if r.split != "test" or r.kind is Kind.REGULAR]
    assert "test sites have 0 non-regular pictures labelled by people" in refusal(tmp_path, records)


def test_automatic_labels_measure_nothing(tmp_path: Path) -> None:
    records = [replace(r, provenance=AUTOMATIC) if r.split == "test" else r for r in toys.records(tmp_path / "made")]
    assert "test sites have 0 regular pictures labelled by people" in refusal(tmp_path, records)


def test_a_class_without_examples_is_refused(tmp_path: Path) -> None:
    records = [r for r in toys.records(tmp_path / "made") if r.split != "train" or r.kind is not Kind.REGULAR]
    assert "train sites have 0 regular pictures" in refusal(tmp_path, records)


def test_a_manifest_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,site\na.jpg,alpha\n", encoding="utf-8")
    with pytest.raises(TrainingRefused, match="lacks the columns sha256, kind"):
        read(tmp_path / "m.csv", ROLES)


def test_a_patient_of_two_sites_stays_on_the_side_of_the_test(tmp_path: Path) -> None:
    train, test = toys.records(tmp_path / "made")[0], toys.records(tmp_path / "made")[-1]
    shared = replace(train, patient=test.patient)
    kept, left_out = one_side([shared, train, test])
    assert kept == [test, train]
    assert left_out["of a patient of another side"] == 1


def test_a_site_with_two_roles_is_split_by_patient(tmp_path: Path) -> None:
    record = replace(toys.records(tmp_path / "made")[0], site="alpha")
    roles = {"train": ["alpha"], "validation": ["alpha"], "test": ["gamma"]}
    given = [role_of(replace(record, patient=f"P{n // 2}"), roles) for n in range(400)]
    assert given[::2] == given[1::2]
    assert 0.74 < given.count("train") / 400 < 0.90
    assert "test" not in given
