"""Crops of records as inference makes them, and wide ones for augmentation. Loads torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from inference.deep_sad import SIZE as DEEP_SAD_SIZE
from inference.detector import CervixDetector, state_of, to_file_pixels
from inference.preprocess import Picture, Pixels, crop_to, letterbox
from inference.types import Box, DetectorState
from training.augment import FRAME_ROOM, WIDE_MARGIN, WIDER
from training.data import open_records
from training.manifest import Record


@dataclass(frozen=True, slots=True)
class Crops:
    """One decode of every record, three ways: at ResNeSt's and Deep SAD's sizes as inference sees them, and wide ones for augmentation."""

    resnest: Pixels
    deep_sad: Pixels
    wide: Pixels
    wide_small: Pixels


def find_boxes(finder: CervixDetector, records: Sequence[Record], device: str, *, cancelled: Callable[[], bool]) -> list[Box | None]:
    """The box that inference would crop to, None where it would take the whole frame."""
    side = finder.config.size
    finder.eval()
    boxes: list[Box | None] = []
    for first in range(0, len(records), 64):
        group = open_records(records[first : first + 64], lambda _, p: (*letterbox(p, side), p.width, p.height), cancelled=cancelled)
        images = torch.from_numpy(np.stack([one[0] for one in group])).to(device).permute(0, 3, 1, 2).float() / 255.0
        for found, (_, factor, width, height) in zip(finder.detect(images), group, strict=True):
            sure = state_of(found) is DetectorState.FOUND
            boxes.append(to_file_pixels(found[0], factor, width, height) if sure else None)
    return boxes


def read_crops(records: Sequence[Record], boxes: Sequence[Box | None], size: int, *, cancelled: Callable[[], bool]) -> Crops:
    """All crops that training needs, from one decode."""
    place = {id(record): box for record, box in zip(records, boxes, strict=True)}

    def cut(record: Record, picture: Picture) -> tuple[Pixels, Pixels, Pixels, Pixels]:
        box = place[id(record)]
        small, large = round(DEEP_SAD_SIZE * WIDER), round(size * WIDER)
        return (
            crop_to(picture, box, size), crop_to(picture, box, DEEP_SAD_SIZE),
            crop_to(picture, box, large, margin=WIDE_MARGIN), crop_to(picture, box, small, margin=WIDE_MARGIN),
        )  # fmt: skip

    made = open_records(records, cut, cancelled=cancelled)
    return Crops(*(np.stack([one[i] for one in made]) for i in range(4)))


def read_frames(records: Sequence[Record], size: int, *, cancelled: Callable[[], bool]) -> Pixels:
    """The whole frames squeezed to a square as inference sees them (N, size, size, 3)."""
    return np.stack(open_records(records, lambda _, picture: crop_to(picture, None, size), cancelled=cancelled))


def read_wide_frames(records: Sequence[Record], size: int, *, cancelled: Callable[[], bool]) -> tuple[Pixels, Pixels]:
    """As `read_frames`, and larger ones for augmentation, from one decode."""
    large = round(size * FRAME_ROOM)
    made = open_records(records, lambda _, picture: (crop_to(picture, None, size), crop_to(picture, None, large)), cancelled=cancelled)
    return np.stack([one for one, _ in made]), np.stack([one for _, one in made])
