"""What each part of a run begins with: which network, and which weights. Said alike in the log, in bundle.json and on the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from inference import bundle as bundles
from inference.members import CROP, Member, further
from training.config import AUTOENCODER, NETWORK, PARTS, RANDOM, DeepSADRecipe, Preset
from training.methods import begin_anew
from training.resnest import members_of
from training.types import TrainConfig


@dataclass(frozen=True, slots=True)
class Beginnings:
    """By part. `states` and `architectures` (as bundle.json has them) are of those parts alone that a bundle gives weights to.

    start, weights_from: hashes of the bundles that the run names, `random` for none.
    said: part -> what it begins with, in a few words. networks: part -> its network in words. learned: sites that any of those bundles
    learned from.
    """

    states: Mapping[str, dict[str, Tensor]]
    architectures: Mapping[str, Mapping[str, Any]]
    said: Mapping[str, str]
    networks: Mapping[str, str]
    learned: tuple[str, ...]
    start: str
    weights_from: str

    def as_lines(self) -> list[str]:
        return [f"{part}: {self.networks[part]}, {self.said[part]}" for part in PARTS]


def folder_of(config: TrainConfig, part: str) -> Path | None:
    """The bundle that gives a part its weights, copied or to start from; None where it begins anew."""
    if part not in config.parts:
        folder = config.start
    else:
        folder = None if part in begin_anew(config) else config.weights_from or config.start
    return Path(folder) if folder else None


def of_run(config: TrainConfig, preset: Preset) -> Beginnings:
    """Read the weights that a run begins with. Raises BundleError for a broken bundle, TrainingRefused for networks that do not fit."""
    states: dict[str, dict[str, Tensor]] = {}
    architectures: dict[str, Mapping[str, Any]] = {}
    said: dict[str, str] = {}
    learned: set[str] = set()
    # Also one of which nothing is taken is named in the model's papers, and has to be there
    named = [Path(one) for one in (config.start, config.weights_from) if one]
    known = {folder: bundles.verify(folder) for folder in named}
    for part in PARTS:
        folder = folder_of(config, part)
        if folder is None:
            said[part] = _own(part, preset)
            continue
        about, digest = known[folder]
        states[part], architectures[part] = bundles.load_tensors(folder, part), about["parts"][part]
        said[part] = f"{'weights of' if part in config.parts else 'kept from'} bundle {digest[:12]}"
        learned.update(about["sources"])
    networks = {
        "detector": _detector(architectures.get("detector") or preset.detector.network()),
        "resnest": "; ".join(str(one) for one in _members(architectures.get("resnest", {}), preset, trained="resnest" in config.parts)),
        "deep_sad": "Deep SVDD" if "deep_sad" in config.parts and preset.deep_sad.unsupervised else "Deep SAD",
    }
    start, weights = (known[Path(one)][1] if one else "random" for one in (config.start, config.weights_from or config.start))
    return Beginnings(states, architectures, said, networks, tuple(sorted(learned)), start, weights)


def network_of(part: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Of a part that started from a bundle's weights, with this architecture: what its recipe would say otherwise."""
    if part == "detector":
        return {**{name: known[name] for name in NETWORK}, "weights": ""}
    if part == "resnest":
        more = [f"{one.backbone}@{one.size}{'' if one.view == CROP else ':' + one.view}" for one in further(known)]
        return {"backbone": known["backbone"], "size": known["size"], "more": ",".join(more), "weights": "", "more_weights": ""}
    return {"ae_init": False}


def _own(part: str, preset: Preset) -> str:
    """What a part begins with that has weights of no bundle."""
    recipe = getattr(preset, part)
    if isinstance(recipe, DeepSADRecipe):
        return AUTOENCODER if recipe.ae_init else RANDOM
    weights = [weights for _, weights in recipe.members()] if part == "resnest" else [recipe.weights]
    files = list(dict.fromkeys(Path(one).name if one else "random" for one in weights))
    return RANDOM if files == ["random"] else f"ImageNet ({', '.join(files)})"


def _detector(network: Mapping[str, Any]) -> str:
    return f"{network['arch']}, {network['backbone']} at {network['size']} px"


def _members(known: Mapping[str, Any], preset: Preset, *, trained: bool) -> tuple[Member, ...]:
    if known and not trained:
        return (Member(known["backbone"], known["size"]), *further(known))
    return tuple(member for member, _ in members_of(known, preset.resnest))
