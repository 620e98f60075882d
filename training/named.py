"""Which parts the settings name a network for: such a part begins anew, where that network is not the one of the bundle to start from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from inference import bundle as bundles
from inference.members import Member, further
from training.config import NETWORK, PARTS, Preset
from training.methods import begin_anew
from training.types import TrainConfig

SETTINGS = {
    "detector": (*NETWORK, "weights"),
    "resnest": ("backbone", "size", "more", "weights", "more_weights"),
    "deep_sad": ("ae_init", "unsupervised"),
}
"""Of each part those settings that say what is trained or what it begins with. Of Deep SAD there is one network, but three beginnings."""


def anew(config: TrainConfig, flags: Collection[str], preset: Preset, recipes: Preset) -> tuple[str, ...] | None:
    """`TrainConfig.anew` of a run from the shell, to be written into its config.toml; None where there is nothing to start from.

    flags: dotted keys that were given as flags, which are meant even where they say what the preset says; of a file, which may be that of
    another run and hold every setting, only what differs from the preset (with its methods). recipes: what came of both. Raises
    BundleError for a broken bundle, TrainingRefused for settings that cannot be read.
    """
    if config.fresh or not (config.start or config.weights_from):
        return config.anew
    told = {part for part in PARTS for name in SETTINGS[part] if f"{part}.{name}" in flags}
    if config.anew is None:
        told |= {part for part in PARTS if _said(recipes, part) != _said(preset, part)}
    about, _ = bundles.read_manifest(Path(config.weights_from or config.start or ""))
    others = {part for part in told if _is_another(recipes, part, about["parts"][part])}
    return tuple(part for part in config.parts if part in {*begin_anew(config), *others})


def _said(recipes: Preset, part: str) -> list[Any]:
    return [getattr(getattr(recipes, part), name) for name in SETTINGS[part]]


def _is_another(recipes: Preset, part: str, known: Mapping[str, Any]) -> bool:
    """Whether the recipe's network, or what it begins with, is not the bundle's."""
    if part == "detector":
        return bool(recipes.detector.weights) or recipes.detector.network() != {name: known[name] for name in NETWORK}
    if part == "resnest":
        members = recipes.resnest.members()
        kept = (Member(known["backbone"], known["size"]), *further(known))
        return any(weights for _, weights in members) or tuple(member for member, _ in members) != kept
    return True
