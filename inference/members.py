"""The networks of a classifier, by name. Loads nothing, so that settings can be refused before torch is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CROP, FRAME = "crop", "frame"


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a classifier: a timm name, the side in pixels of what it sees, and whether that is the crop or the whole frame."""

    backbone: str
    size: int
    view: str = CROP

    def __str__(self) -> str:
        return f"{self.backbone} at {self.size} px{' of the whole frame' if self.view == FRAME else ''}"


def further(values: Mapping[str, Any]) -> tuple[Member, ...]:
    """Of bundle.json's classifier the networks after the first. Bundles of before there were any have none, and those of before there was
    a view see crops."""
    return tuple(Member(str(one[0]), int(one[1]), str(one[2]) if len(one) > 2 else CROP) for one in values.get("more", ()))
