"""What each part of a run begins with: the start's network and weights, or the network that is named. Real trainings on a toy snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import bundle as bundles
from tests.training import toys
from tests.training.test_train import everything
from training import __main__ as shell
from training import api, beginnings, card, claims, config, methods, runs
from training.manifest import read_snapshot
from training.types import TrainConfig, TrainingRefused

torch.set_num_threads(1)
QUIET: dict[str, Any] = {"report": lambda _: None, "cancelled": lambda: False}
# Nothing is learned at a rate of 0: what a part begins with is what it ends with
STILL = replace(
    toys.TINY,
    detector=replace(toys.TINY.detector, backbone="test_resnet", epochs=1, lr=0.0),
    resnest=replace(toys.TINY.resnest, more="", epochs=1, lr=0.0),
    deep_sad=replace(toys.TINY.deep_sad, epochs=1, ae_epochs=1, lr=0.0),
    health_auroc=0.0,
    health_auroc_resnest=0.0,
)
OTHER = replace(
    toys.TINY,
    detector=replace(toys.TINY.detector, backbone="test_efficientnet", size=96, channels=32, epochs=1),
    resnest=replace(toys.TINY.resnest, more="", epochs=1, size=40),
    deep_sad=replace(toys.TINY.deep_sad, epochs=1, ae_epochs=1),
    health_auroc=0.0,
    health_auroc_resnest=0.0,
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_snapshot(tmp_path_factory.mktemp("data") / "snap")


@pytest.fixture(scope="module", autouse=True)
def _presets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for name, preset in (("tiny", toys.TINY), ("still", STILL), ("other", OTHER)):
            patched.setitem(config.PRESETS, name, preset)
        yield


@pytest.fixture(scope="module")
def start(snapshot: Path, _presets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose detector and classifier are those of no preset here."""
    return api.train(everything(preset="other", name="start"), snapshot, tmp_path_factory.mktemp("start"), **QUIET)


@pytest.fixture(scope="module")
def root(snapshot: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another bundle of the same networks."""
    given = everything(preset="other", name="root", seed=11)
    return api.train(given, snapshot, tmp_path_factory.mktemp("root"), **QUIET)


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Weights alike, but for what a forward pass moves and for the precision of a saved bundle."""
    names = [name for name in one if name.endswith("weight")]
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=2e-3) for name in names)


def test_the_detector_is_trained_further_with_the_network_that_it_has(start: Path, snapshot: Path, tmp_path: Path) -> None:
    assert config.PRESETS["tiny"].detector.network() != OTHER.detector.network()
    lines: list[str] = []
    given = everything(start=str(start), parts=("detector",))
    made = api.train(given, snapshot, tmp_path / "run", report=lambda p: lines.append(p.message), cancelled=lambda: False)
    before, digest = bundles.verify(start)
    about, _ = bundles.verify(made)
    known = about["parts"]["detector"]
    assert {name: known[name] for name in config.NETWORK} == OTHER.detector.network()
    assert bundles.load_tensors(made, "detector").keys() == bundles.load_tensors(start, "detector").keys()
    assert not close(bundles.load_tensors(made, "detector"), bundles.load_tensors(start, "detector"))
    # As many passes as the preset has; and what is said of it is what it is
    assert "epoch 2 of 2" in lines
    assert f"detector: retinanet_lite, test_efficientnet at 96 px, weights of bundle {digest[:12]}" in lines
    assert (about["recipes"]["detector"]["backbone"], about["recipes"]["detector"]["epochs"]) == ("test_efficientnet", 2)
    assert about["begins"]["resnest"] == f"kept from bundle {digest[:12]}"
    assert about["start_sources"] == before["sources"]
    said = card.head(about, "")
    assert f"| start weights | detector: weights of bundle {digest[:12]}; classifier: kept from bundle {digest[:12]} |" in said
    assert f"| Deep SAD | 32 px, 520,544 parameters, kept from bundle {digest[:12]} |" in said


def test_trained_parts_begin_with_the_weights_of_one_bundle_and_the_others_are_kept_from_another(
    start: Path, root: Path, snapshot: Path, tmp_path: Path
) -> None:
    knows_more = bundles.amend(root, tmp_path / "far", {"sources": ["far"]})
    given = everything(preset="still", start=str(start), weights_from=str(tmp_path / "far"), parts=("detector", "resnest"))
    made = api.train(given, snapshot, tmp_path / "run", **QUIET)
    about, _ = bundles.verify(made)
    for part in ("detector", "resnest"):
        assert close(bundles.load_tensors(made, part), bundles.load_tensors(root, part))
        assert not close(bundles.load_tensors(made, part), bundles.load_tensors(start, part))
    assert bundles.sha256(made / "deep_sad.safetensors") == bundles.sha256(start / "deep_sad.safetensors")
    assert about["start_sources"] == sorted({"far", *bundles.read_manifest(start)[0]["sources"]})
    assert set(about["sources"]) >= {"far", "site-0", "site-1"}
    assert about["begins"]["resnest"] == f"weights of bundle {knows_more[:12]}"
    assert (about["start"], about["weights_from"]) == (bundles.read_manifest(start)[1], knows_more)


def test_a_method_by_name_is_trained_as_itself_whatever_the_start_has(start: Path, snapshot: Path, tmp_path: Path) -> None:
    small: dict[str, methods.Recipe] = {
        "retinanet_lite": replace(OTHER.detector, backbone="test_resnet"), "deep_sad_no_ae": replace(OTHER.deep_sad, ae_init=False),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        for name, recipe in small.items():
            patched.setitem(methods.METHODS, name, replace(methods.METHODS[name], presets={"small": recipe}))
        given = everything(
            preset="other", start=str(start), parts=("detector", "deep_sad"), methods=("retinanet_lite:small", "deep_sad_no_ae:small")
        )
        stages: list[str] = []
        made = api.train(given, snapshot, tmp_path / "run", report=lambda p: stages.append(p.stage), cancelled=lambda: False)
    about, _ = bundles.verify(made)
    assert about["parts"]["detector"]["backbone"] == "test_resnet"
    assert (about["begins"]["detector"], about["begins"]["deep_sad"]) == (config.RANDOM, config.RANDOM)
    assert (about["methods"], about["recipes"]["deep_sad"]["ae_init"]) == (["retinanet_lite:small", "deep_sad_no_ae:small"], False)
    assert "autoencoder" not in stages
    # Nothing of the start's classifiers' training came into what begins anew, but the kept part learned from its sites
    assert about["start_sources"] == bundles.read_manifest(start)[0]["sources"]


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({}, ()), ({"preset": "paper"}, config.PARTS), ({"methods": ("deep_svdd", "timm:resnet18")}, ("resnest", "deep_sad")),
        ({"preset": "paper", "anew": ()}, ()), ({"anew": ("detector",)}, ("detector",)), ({"fresh": True}, config.PARTS),
        ({"start": None}, config.PARTS), ({"preset": "paper", "parts": ("resnest",)}, ("resnest",)),
    ],
)  # fmt: skip
def test_what_begins_anew_is_told_from_methods_and_preset_where_it_is_not_said(changes: dict[str, Any], anew: tuple[str, ...]) -> None:
    assert methods.begin_anew(everything(**{"preset": "small", "start": "b", **changes})) == anew


def test_settings_that_name_another_network_make_their_part_begin_anew(start: Path, tmp_path: Path) -> None:
    def chosen(file: str = "", *method: str, **flags: str) -> tuple[str, ...] | None:
        path = tmp_path / "run.toml"
        path.write_text(file, encoding="utf-8")
        given = {"start": str(start), "preset": "tiny", **{key.replace("__", "."): value for key, value in flags.items()}}
        return runs.chosen(path, given, method)[0].anew

    assert chosen() == ()
    assert chosen(detector__epochs="3", resnest__lr="0.1") == ()
    assert chosen(detector__backbone="resnet18") == ("detector",)
    # A flag is meant, also where the preset says the same; a file may be another run's, with every setting in it
    assert chosen(detector__backbone="test_resnet") == ("detector",)
    assert chosen('[detector]\nbackbone = "test_resnet"\n') == ()
    assert chosen('[detector]\nbackbone = "resnet18"\n') == ("detector",)
    assert chosen('anew = ["deep_sad"]\n[detector]\nbackbone = "resnet18"\n') == ("deep_sad",)
    # The network that the start has is no other
    same = {f"detector__{name}": str(value) for name, value in OTHER.detector.network().items()}
    assert chosen(**same) == ()
    assert chosen(**same, detector__weights="hub") == ("detector",)
    assert chosen("", "deep_svdd", parts="resnest,deep_sad") == ("deep_sad",)
    assert chosen("", deep_sad__ae_init="false") == ("deep_sad",)
    assert runs.chosen(None, {"preset": "tiny", "detector.backbone": "resnet18"})[0].anew is None


def test_a_runs_file_repeats_what_begins_anew_and_its_methods(start: Path, tmp_path: Path) -> None:
    given = runs.chosen(None, {"start": str(start), "resnest.size": "48"}, ("deep_svdd:small",))
    runs.write_config(tmp_path, *given)
    assert runs.chosen(tmp_path / "config.toml", {}) == given
    assert json.loads((tmp_path / "config.json").read_text())["anew"] == ["resnest", "deep_sad"]


@pytest.mark.parametrize(
    ("changes", "recipe", "said"),
    [
        ({"parts": ("resnest",), "methods": ("deep_svdd",)}, {}, "deep_svdd is a method of deep_sad, which is not trained"),
        ({"fresh": True, "weights_from": "start"}, {}, "Nothing would start from weights_from"),
        ({"parts": ("resnest",), "methods": ("resnest_32",), "weights_from": "start"}, {}, "Nothing would start from weights_from"),
        ({"anew": ("fusion",)}, {}, "fusion cannot be trained"),
        ({"anew": ("detector",)}, {"arch": "retinanet_v2"}, "knows only the backbone resnet50 with 256 channels"),
        ({"anew": ("detector",)}, {"backbone": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224 cannot be the detector's network at"),
        ({"anew": ("detector",)}, {"weights": "none.safetensors"}, "There is no file none.safetensors"),
        ({"anew": ("resnest",)}, {"backbone": "vit_tiny_patch16_224", "size": 40}, "cannot be the classifier's network at 40 px"),
        ({"anew": ("resnest",)}, {"objective": "binry"}, "objective = 'binry'"),
    ],
)  # fmt: skip
def test_what_cannot_fit_is_refused_before_anything_is_read_or_written(
    start: Path, snapshot: Path, tmp_path: Path, changes: dict[str, Any], recipe: dict[str, Any], said: str
) -> None:
    part = "detector" if changes.get("anew") == ("detector",) else "resnest"
    recipes = replace(OTHER, **{part: replace(getattr(OTHER, part), **recipe)})
    paths = {name: str(start) for name, value in changes.items() if value == "start"}
    given = everything(preset="other", start=str(start), **{**changes, **paths})
    with pytest.raises(TrainingRefused, match=said):
        api.train(given, snapshot, tmp_path / "run", recipes=recipes, **QUIET)
    assert not (tmp_path / "run").exists()


def test_the_shell_says_in_words_what_the_shipped_champion_once_made_crash(
    start: Path, snapshot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--preset", "tiny", "--parts", "detector", "--threads", "1", "--start", str(start)]
    asked = ["train", str(snapshot), str(tmp_path / "run"), *flags]
    assert shell.main([*asked, "--detector.size", "96", "--detector.arch", "retinanet_v2"]) == 1
    assert "refused: retinanet_v2 knows only" in capsys.readouterr().err
    assert shell.main([*asked, "--report", ""]) == 0
    assert "detector: retinanet_lite, test_efficientnet at 96 px, weights of bundle" in (tmp_path / "run" / "log.jsonl").read_text()


def test_a_run_of_before_there_was_a_choice_goes_on_in_its_folder(start: Path, snapshot: Path, tmp_path: Path) -> None:
    given = TrainConfig(preset="paper", start=str(start), parts=("resnest",), anew=())
    recipes, data = config.PRESETS["paper"], read_snapshot(snapshot)
    claims.claim(tmp_path, given, data, recipes)
    mark = json.loads((tmp_path / "run.json").read_text())
    assert set(mark) == {"preset", "seed", "start", "parts", "fresh", "snapshot", "recipes"}
    claims.claim(tmp_path, given, data, recipes)
    with pytest.raises(TrainingRefused, match="another run"):
        claims.claim(tmp_path, replace(given, anew=None), data, recipes)


def test_a_run_of_before_there_was_jpeg_goes_on_without_it_whatever_a_bundle_must_reach(snapshot: Path, tmp_path: Path) -> None:
    recipes, data = config.PRESETS["default"], read_snapshot(snapshot)
    without = replace(recipes, resnest=replace(recipes.resnest, jpeg=0.0))
    claims.claim(tmp_path, everything(), data, without)
    mark = json.loads((tmp_path / "run.json").read_text())
    assert "jpeg" not in mark["recipes"]["resnest"]
    mark["recipes"]["health_auroc"] = 0.9
    (tmp_path / "run.json").write_text(json.dumps(mark))
    claims.claim(tmp_path, everything(), data, without)
    with pytest.raises(TrainingRefused, match="another run"):
        claims.claim(tmp_path, everything(), data, recipes)


def test_a_named_bundle_that_is_not_there_is_found_before_the_run(tmp_path: Path) -> None:
    """Also one of which nothing would be taken: the model's papers name it."""
    for named in ({"start": str(tmp_path / "gone"), "fresh": True}, {"weights_from": str(tmp_path / "gone"), "fresh": True}):
        with pytest.raises(bundles.BundleError, match="gone"):
            beginnings.of_run(replace(everything(), **named), toys.TINY)  # type: ignore[arg-type]
