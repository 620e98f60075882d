"""The list of timm's networks, by which a slip is told where timm is not."""

from __future__ import annotations

import pytest
import timm

from training import backbones
from training.types import TrainingRefused


def test_the_list_is_that_of_the_timm_that_is_installed() -> None:
    assert backbones.NAMES.read_text(encoding="utf-8") == "\n".join(sorted(timm.list_models())) + "\n", (
        "write it anew: python -c 'import timm; print(*sorted(timm.list_models()), sep=chr(10))' > training/backbones.txt"
    )


def test_an_unknown_one_is_refused_with_what_is_near() -> None:
    backbones.refuse_unknown("resnet18")
    with pytest.raises(TrainingRefused, match=r"timm knows no backbone 'resnest50x'; near it are .*resnest50d"):
        backbones.refuse_unknown("resnest50x")
    with pytest.raises(TrainingRefused, match=r"timm knows no backbone '\?\?'\.$"):
        backbones.refuse_unknown("??")
