"""Settings: explained, from a file and from flags, refused where nobody knows them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training import methods, runs
from training.config import PARTS, PRESETS, HeadRecipe, Preset
from training.settings import add_flags, changed, flags_of, settings_of, to_toml
from training.types import TrainConfig, TrainingRefused

ROOT = Path(__file__).resolve().parents[2]


def from_toml(folder: Path, text: str, **flags: object) -> tuple[TrainConfig, Preset]:
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return runs.chosen(file, flags)


def test_every_setting_is_explained() -> None:
    for given in (TrainConfig(), Preset(), HeadRecipe()):
        assert not [one.key for one in settings_of(given) if len(one.says) < 5]


def test_a_file_lays_over_the_preset_and_a_flag_over_the_file(tmp_path: Path) -> None:
    config, recipes = from_toml(
        tmp_path, 'preset = "small"\nseed = 11\n[resnest]\nlr = 0.002\nepochs = 3\n', seed="12", **{"resnest.epochs": "4"}
    )
    assert (config.preset, config.seed, config.parts) == ("small", 12, PARTS)
    assert (recipes.resnest.lr, recipes.resnest.epochs) == (0.002, 4)
    assert recipes.detector == PRESETS["small"].detector


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[resnest]\nlearning_rate = 1", "no setting 'resnest.learning_rate'"), ("[resnst]\nlr = 1", "did you mean 'resnest.lr'"),
        ("sed = 3", "did you mean 'seed'"), ('[resnest]\nepochs = "many"', "whole number"), ("[resnest]\nepochs = 2.5", "whole number"),
        ('[deep_sad]\nae_init = "maybe"', "true or false"), ("[resnest", "not valid TOML"), ('preset = "papr"', "no preset 'papr'"),
    ],
)  # fmt: skip
def test_what_is_unknown_or_does_not_fit_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TrainingRefused) as refused:
        from_toml(tmp_path, text)
    assert said in str(refused.value)


def test_the_written_file_repeats_the_run(tmp_path: Path) -> None:
    config = TrainConfig(preset="paper", seed=3, parts=PARTS, name='a "quoted" name')
    recipes = changed(PRESETS["paper"], {"deep_sad.ae_init": False, "resnest.weights": "w.safetensors"})
    again = from_toml(tmp_path, to_toml(config, recipes))
    assert again == (config, recipes)


def test_flags_are_made_of_the_settings() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainConfig(), Preset())
    given = flags_of(parser.parse_args(["--fresh", "--deep_sad.eta", "2", "--parts", "resnest,deep_sad"]), TrainConfig(), Preset())
    assert given == {"fresh": "true", "deep_sad.eta": "2", "parts": "resnest,deep_sad"}
    assert changed(TrainConfig(), given) == replace(TrainConfig(), fresh=True, parts=("resnest", "deep_sad"))


def test_methods_by_name_replace_their_part() -> None:
    _, recipes = runs.chosen(None, {}, ("deep_svdd:paper", "resnest_32", "retinanet_v2:small", "timm:resnet10t"))
    assert (recipes.deep_sad.unsupervised, recipes.deep_sad.batch) == (True, 4)
    assert (recipes.resnest.backbone, recipes.resnest.size) == ("resnet10t", 224)
    assert recipes.detector.arch == "retinanet_v2"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deep_sadd", "no method"),
        ("deep_sad:papers", "deep_sad has no preset 'papers'; choose one of paper, default, small"),
        ("timm:resnest99x", "no backbone"),
        ("hypersphere_224", "cannot be part of a bundle"),
    ],
)
def test_an_unknown_method_is_refused(name: str, said: str) -> None:
    with pytest.raises(TrainingRefused, match=said):
        methods.use(Preset(), name)


def test_the_shell_refuses_before_anything_is_written(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "train",
        str(tmp_path / "none"),
        str(tmp_path / "run"),
        "--config",
        str(tmp_path / "c.toml"),
    ]
    (tmp_path / "c.toml").write_text("[deep_sad]\nepoch = 3\n", encoding="utf-8")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "did you mean 'deep_sad.epochs'" in ended.stderr
    assert not (tmp_path / "run").exists()
