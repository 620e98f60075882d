"""Every method under its own name, with its presets `paper`, `default` and `small` (METHODS 2 to 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from training.config import (
    ITSELF,
    PAPER_DEEP_SAD,
    PAPER_DETECTOR,
    PAPER_RESNEST_32,
    PAPER_RESNEST_224,
    TIMM,
    DeepSADRecipe,
    DetectorRecipe,
    HeadRecipe,
    Preset,
    ResNeStRecipe,
    preset_of,
)
from training.types import TrainConfig, TrainingRefused

Recipe = DetectorRecipe | ResNeStRecipe | DeepSADRecipe | HeadRecipe
PRESET_NAMES = ("paper", "default", "small")


@dataclass(frozen=True, slots=True)
class Method:
    """`part`: what it can be in a bundle (`detector`, `resnest`, `deep_sad`), or `head`, which no bundle holds yet."""

    name: str
    title: str
    part: str
    presets: Mapping[str, Recipe]

    def recipe(self, preset: str) -> Recipe:
        """Raises TrainingRefused for a preset that the method lacks."""
        if preset not in self.presets:
            raise TrainingRefused(f"{self.name} has no preset {preset!r}; choose one of {', '.join(self.presets)}.")
        return self.presets[preset]


LITE = DetectorRecipe()
LITE_PAPER = replace(LITE, size=320, backbone="resnet18", epochs=50, epoch_images=0, vote_iou=0.0)
V2 = replace(PAPER_DETECTOR, epochs=25, lr=3e-4, epoch_images=1200)
SAD = DeepSADRecipe()
AT_224 = ResNeStRecipe(backbone="resnest50d", size=224, epochs=25, batch=64, lr=5e-4, epoch_images=0)
AT_32 = replace(AT_224, size=32, batch=256)
HEAD = HeadRecipe()
SPHERE = replace(HEAD, loss="hypersphere")


def _three(paper: Recipe, default: Recipe, small: Recipe) -> dict[str, Recipe]:
    return dict(zip(PRESET_NAMES, (paper, default, small), strict=True))


def _sad(**changes: bool) -> dict[str, Recipe]:
    small = DeepSADRecipe(epochs=40, ae_epochs=15)
    return _three(replace(PAPER_DEEP_SAD, **changes), replace(SAD, **changes), replace(small, **changes))


ALL = (
    Method(
        "retinanet_v2", "RetinaNet, ResNet-50 (the paper's)", "detector",
        _three(PAPER_DETECTOR, V2, replace(V2, size=256, epochs=4, epoch_images=64, batch=4)),
    ),
    Method(
        "retinanet_lite", "RetinaNet, light", "detector",
        _three(LITE_PAPER, LITE, DetectorRecipe(epochs=6, epoch_images=256)),
    ),
    Method("deep_sad", "Deep SAD, started from an autoencoder", "deep_sad", _sad()),
    Method("deep_sad_no_ae", "Deep SAD from random weights", "deep_sad", _sad(ae_init=False)),
    Method("deep_svdd", "Deep SVDD (no label used)", "deep_sad", _sad(unsupervised=True)),
    Method(
        "resnest_224", "ResNeSt at 224 px", "resnest",
        _three(PAPER_RESNEST_224, AT_224, ResNeStRecipe(epochs=5, epoch_images=256)),
    ),
    Method(
        "resnest_32", "ResNeSt at 32 px", "resnest",
        _three(PAPER_RESNEST_32, AT_32, ResNeStRecipe(size=32, epochs=5, epoch_images=256)),
    ),
    Method("deep_sad_224", "Deep SAD on the ResNeSt embedding", "head", _three(HEAD, HEAD, replace(HEAD, epochs=10, views=1))),
    Method(
        "hypersphere_224", "Hypersphere classifier on the ResNeSt embedding", "head",
        _three(SPHERE, SPHERE, replace(SPHERE, epochs=10, views=1)),
    ),
)  # fmt: skip
METHODS = {method.name: method for method in ALL}


def method(name: str) -> Method:
    """The method of a name; `timm:NAME` is any timm backbone by the recipes of ResNeSt. Raises TrainingRefused for an unknown one."""
    if name.startswith(TIMM):
        return _backbone(name.removeprefix(TIMM))
    known, _, preset = name.rpartition(":")
    if known in METHODS:
        raise TrainingRefused(f"{known} has no preset {preset!r}; choose one of {', '.join(PRESET_NAMES)}.")
    if name not in METHODS:
        raise TrainingRefused(f"There is no method {name!r}; choose one of {', '.join(METHODS)} or timm:NAME.")
    return METHODS[name]


def _backbone(name: str) -> Method:
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:3]
        raise TrainingRefused(f"timm knows no backbone {name!r}" + (f"; near it are {', '.join(near)}." if near else "."))
    base = METHODS["resnest_224"].presets
    recipes: dict[str, Recipe] = {key: replace(recipe, backbone=name) for key, recipe in base.items() if isinstance(recipe, ResNeStRecipe)}
    return Method(TIMM + name, f"{name} at 224 px", "resnest", recipes)


def parse(named: str) -> tuple[str, str]:
    """Name and preset of a method given as `NAME` or `NAME:PRESET`; the preset is empty where none is named."""
    name, _, chosen = named.rpartition(":")
    return (name, chosen) if name and chosen in PRESET_NAMES else (named, "")


def part_of(named: str) -> str:
    """The part of a method given as `NAME` or `NAME:PRESET`; that of timm's backbones without asking timm. Raises TrainingRefused."""
    name, _ = parse(named)
    return "resnest" if name.startswith(TIMM) else method(name).part


def title_of(named: str) -> str:
    """A method given as `NAME` or `NAME:PRESET` in words, with its preset where one is named. Raises TrainingRefused."""
    name, chosen = parse(named)
    title = f"{name.removeprefix(TIMM)}, by the recipe of ResNeSt" if name.startswith(TIMM) else method(name).title
    return f"{title}, {chosen}" if chosen else title


def recipes_of(config: TrainConfig) -> Preset:
    """The preset of a configuration with its methods in it. Raises TrainingRefused on what cannot be trained."""
    preset = preset_of(config)
    for named in config.methods:
        preset = use(preset, named)
    return preset


def begin_anew(config: TrainConfig) -> tuple[str, ...]:
    """The trained parts that begin with the network that is named for them, and not with weights of a bundle. Raises TrainingRefused.

    All of them where there is no bundle to start from, with `fresh`, and with a preset that is about its networks (`paper`).
    """
    if config.fresh or not (config.start or config.weights_from):
        return config.parts
    if config.anew is not None:
        return tuple(part for part in config.parts if part in config.anew)
    named = {part_of(one) for one in config.methods}
    return tuple(part for part in config.parts if part in named or config.preset in ITSELF)


def use(preset: Preset, named: str) -> Preset:
    """The preset with the part of one method, given as `NAME` or `NAME:PRESET`, replaced. Raises TrainingRefused."""
    name, chosen = parse(named)
    found = method(name)
    recipe = found.recipe(chosen or "default")
    if isinstance(recipe, HeadRecipe):
        raise TrainingRefused(f"{name} cannot be part of a bundle yet; `python -m training reproduce --methods {name}` measures it.")
    if isinstance(recipe, DetectorRecipe):
        return replace(preset, detector=recipe)
    return replace(preset, resnest=recipe) if isinstance(recipe, ResNeStRecipe) else replace(preset, deep_sad=recipe)
