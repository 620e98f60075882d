"""The pictures of the experiment, cropped at the detector's boxes, at whatever size a method asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from inference.detector import CervixDetector, state_of, to_file_pixels
from inference.preprocess import CROP_MARGIN, Picture, Pixels, crop_to, letterbox, with_margin
from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Box, DetectorState, Kind
from training.answers import CONTAINED, FAINT_GREEN_SHARE
from training.augment import WIDE_MARGIN, WIDER, green_tint, uniform
from training.data import open_records
from training.deep_sad import label_of
from training.manifest import Record
from training.metrics import box_iou, covered


@dataclass(frozen=True, slots=True)
class Look:
    """What a detector says of one picture, in pixels of the upright file. `iou`, `contained`: of the best box, None where no true box is
    known. boxes: all that it says, by falling score."""

    state: DetectorState
    box: Box | None
    iou: float | None
    contained: bool | None
    boxes: tuple[Box, ...] = ()

    @property
    def crop(self) -> Box | None:
        return self.box if self.state is DetectorState.FOUND else None


def look(
    finder: CervixDetector, records: Sequence[Record], device: str, *, cancelled: Callable[[], bool], batch: int = 32, tinted: bool = False,
) -> list[Look]:  # fmt: skip
    """The detector on every record, in order. tinted: on copies as through a green filter, of any strength from a faint one up."""
    side = finder.config.size
    finder.eval()
    seen: list[Look] = []
    for first in range(0, len(records), batch):
        group = records[first : first + batch]
        squares = open_records(group, lambda _, p: (*letterbox(p, side), p.width, p.height), cancelled=cancelled)
        images = torch.from_numpy(np.stack([one[0] for one in squares])).permute(0, 3, 1, 2).float() / 255.0
        if tinted:
            rng = torch.Generator().manual_seed(first)
            images = green_tint(images, uniform(len(images), 0.1, 1, rng), rng)
        for record, boxes, (_, factor, width, height) in zip(group, finder.detect(images.to(device)), squares, strict=True):
            placed = tuple(to_file_pixels(box, factor, width, height) for box in boxes)
            seen.append(_look(record, state_of(boxes), placed, width, height))
    return seen


def _look(record: Record, state: DetectorState, boxes: tuple[Box, ...], width: int, height: int) -> Look:
    best = boxes[0] if boxes else None
    if record.box is None:
        return Look(state, best, None, None, boxes)
    truth = (record.box.x0, record.box.y0, record.box.x1, record.box.y1)
    overlap = box_iou((best.x0, best.y0, best.x1, best.y1), truth) if best else 0.0
    region = with_margin(best, width, height) if best and state is DetectorState.FOUND else (0.0, 0.0, float(width), float(height))
    return Look(state, best, overlap, covered(truth, region) >= CONTAINED, boxes)


@dataclass(slots=True)
class Part:
    """The pictures of one role that the classifiers train or are tested on, with the boxes to crop them at (None: the whole frame)."""

    records: list[Record]
    boxes: list[Box | None]
    cancelled: Callable[[], bool]
    _made: dict[tuple[int, float], Pixels] = field(default_factory=dict)

    def inner(self, size: int) -> Pixels:
        """Crops (N, size, size, 3) as inference sees them."""
        return self._crops(size, CROP_MARGIN)

    def wide(self, size: int) -> Pixels:
        """Crops that show more, for augmentation to inference crops of `size`."""
        return self._crops(round(size * WIDER), WIDE_MARGIN)

    def _crops(self, side: int, margin: float) -> Pixels:
        if (side, margin) not in self._made:
            place = {id(record): box for record, box in zip(self.records, self.boxes, strict=True)}

            def cut(record: Record, picture: Picture) -> Pixels:
                return crop_to(picture, place[id(record)], side, margin=margin)

            self._made[side, margin] = np.stack(open_records(self.records, cut, cancelled=self.cancelled))
        return self._made[side, margin]

    @property
    def targets(self) -> NDArray[np.int64]:
        """Indices into CLASSIFIED_KINDS (N,)."""
        order: dict[Kind, int] = {kind: index for index, kind in enumerate(CLASSIFIED_KINDS)}
        return np.array([order[record.kind] for record in self.records], dtype=np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Deep SAD's labels (N,) in {-1, 0, +1}: what no person labelled is 0."""
        pairs = zip(self.targets, self.records, strict=True)
        return np.array([label_of(int(target), expert=record.by_people) for target, record in pairs], dtype=np.int64)

    @property
    def positive(self) -> NDArray[np.bool_]:
        return np.array([record.kind in NON_REGULAR_KINDS for record in self.records], dtype=bool)

    @property
    def faint(self) -> NDArray[np.bool_]:
        """Green images whose crop is hardly greener than white light."""
        means = self.inner(32).reshape(len(self.records), -1, 3).mean(axis=1) + 1e-6
        green = np.array([record.kind is Kind.GREEN_FILTER for record in self.records], dtype=bool)
        faint: NDArray[np.bool_] = green & (means[:, 1] / means.sum(axis=1) < FAINT_GREEN_SHARE)
        return faint
