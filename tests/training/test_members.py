"""A classifier of several networks: each is trained by itself, all ship in one bundle, and a start bundle's are taken up one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference import bundle as bundles
from inference.members import Member
from tests.training import toys
from tests.training.test_train import everything
from training import api, config, resnest
from training.config import ResNeStRecipe
from training.types import TrainingRefused

torch.set_num_threads(1)


def test_a_recipe_names_its_networks_with_what_each_starts_from() -> None:
    recipe = ResNeStRecipe(backbone="a", size=64, weights="w", more="b@64, c@32, d@96:frame", more_weights="x, y, z")
    networks = (Member("a", 64), Member("b", 64), Member("c", 32), Member("d", 96, "frame"))
    assert recipe.members() == tuple(zip(networks, "wxyz", strict=True))
    assert ResNeStRecipe(backbone="a", size=64, more="b@32").members() == ((Member("a", 64), ""), (Member("b", 32), ""))


@pytest.mark.parametrize(
    ("more", "weights"), [("b", ""), ("b@x", ""), ("b@128", ""), ("b@0", ""), ("b@32", "x,y"), ("b@32:face", ""), ("b@0:frame", "")]
)
def test_what_cannot_be_read_is_refused_in_words(more: str, weights: str) -> None:
    with pytest.raises(TrainingRefused, match="BACKBONE@SIZE"):
        ResNeStRecipe(backbone="a", size=64, more=more, more_weights=weights).members()


def test_networks_that_a_start_bundle_lacks_are_refused_and_not_ignored() -> None:
    one = {"backbone": "a", "size": 64, "classes": 3}
    two = {**one, "more": [["b", 32]]}
    recipe = ResNeStRecipe(backbone="a", size=64, more="b@32")
    kept = ((Member("a", 64), ""), (Member("b", 32), ""))
    assert resnest.members_of(two, recipe) == resnest.members_of(two, ResNeStRecipe()) == kept
    assert resnest.members_of(one, ResNeStRecipe()) == kept[:1]
    for lacking, asked in ((one, recipe), (two, replace(recipe, more="b@32:frame"))):
        with pytest.raises(TrainingRefused, match="start bundle"):
            resnest.members_of(lacking, asked)


def test_what_cannot_be_read_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    config.PRESETS["unreadable"] = replace(toys.TINY, resnest=replace(toys.TINY.resnest, more="test_resnet"))
    snapshot = toys.write_snapshot(tmp_path / "snap")
    with pytest.raises(TrainingRefused, match="BACKBONE@SIZE"):
        api.train(everything(preset="unreadable"), snapshot, tmp_path / "run", report=lambda _: None, cancelled=lambda: False)
    assert not (tmp_path / "run").exists()


def test_weights_go_together_and_apart_again() -> None:
    states = [{"net.a": torch.tensor([float(k)]), "net.b": torch.tensor([k + 0.5])} for k in range(3)]
    whole = resnest.together(states)
    assert set(whole) == {"net.a", "net.b", "more.0.net.a", "more.0.net.b", "more.1.net.a", "more.1.net.b"}
    assert [resnest.own_of(whole, number) for number in range(3)] == states


def test_a_champion_of_two_networks_is_trained_further_as_two(tmp_path: Path) -> None:
    config.PRESETS["tiny"] = toys.TINY
    snapshot = toys.write_snapshot(tmp_path / "snap")
    run = {"report": lambda _: None, "cancelled": lambda: False}
    first = api.train(everything(), snapshot, tmp_path / "one", **run)  # type: ignore[arg-type]
    about, _ = bundles.verify(first)
    assert about["parts"]["resnest"]["more"] == [["test_resnet", 40, "frame"]]
    again = api.train(everything(start=str(first), parts=("resnest",)), snapshot, tmp_path / "two", **run)  # type: ignore[arg-type]
    old, new = (bundles.load_tensors(path, "resnest") for path in (first, again))
    assert old.keys() == new.keys()
    kernels = [name for name, value in old.items() if value.ndim == 4]
    weights = [next(name for name in kernels if name.startswith("more.") is further) for further in (False, True)]
    assert all(not torch.equal(old[name], new[name]) for name in weights)
    # trained further, not anew
    assert all((old[name] - new[name]).abs().mean() < 0.5 * old[name].abs().mean() for name in weights)
