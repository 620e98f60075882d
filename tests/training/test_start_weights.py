"""ImageNet weights to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from training import start_weights
from training.types import TrainingRefused


def published() -> dict[str, torch.Tensor]:
    """Tensors as the package names them: the same layers in the same order under other names."""
    own = timm.create_model(start_weights.BACKBONE).state_dict()
    return {f"_layer{number}.{name.rsplit('.', 1)[-1]}": tensor for number, (name, tensor) in enumerate(own.items())}


def test_published_tensors_get_the_names_of_timm() -> None:
    given = published()
    made = start_weights.translated(given)
    assert torch.equal(made["conv_stem.weight"], given["_layer0.weight"])
    assert set(made) == {name for name in timm.create_model(start_weights.BACKBONE).state_dict() if "num_batches" not in name}


def test_tensors_of_another_network_are_refused() -> None:
    given = published()
    given["_layer0.weight"] = torch.zeros(8, 3, 3, 3)
    with pytest.raises(TrainingRefused, match="do not fit"):
        start_weights.translated(given)


def test_a_file_starts_the_backbone_and_its_feature_pyramid(tmp_path: Path) -> None:
    source = timm.create_model("resnet10t", num_classes=1000)
    save_file(source.state_dict(), str(tmp_path / "w.safetensors"))
    body = timm.create_model("resnet10t", features_only=True, out_indices=(3, 4))
    said = start_weights.load(body, "resnet10t", str(tmp_path / "w.safetensors"), features_only=True, out_indices=(3, 4))
    assert "ImageNet" in said
    first = next(name for name in source.state_dict() if name.endswith("conv1.0.weight"))
    assert torch.equal(body.state_dict()[first], source.state_dict()[first])


def test_without_weights_the_start_is_random() -> None:
    assert start_weights.load(torch.nn.Linear(1, 1), "resnet10t", "") == "random"


def test_an_absent_file_is_refused_with_what_to_do() -> None:
    with pytest.raises(TrainingRefused, match="training weights"):
        start_weights.load(torch.nn.Linear(1, 1), "resnet10t", "nowhere.safetensors")
