"""Decoded pictures as arrays: read once, small, and kept in memory as bytes for all epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.preprocess import DecodeError, Picture, Pixels, decode, letterbox
from inference.types import Kind
from training.manifest import Record
from training.types import Cancelled, TrainingRefused

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Canvases:
    """Letterboxed pictures for the detector: `pixels` (N, S, S, 3) bytes, `boxes` (N, 4) in canvas pixels, NaN where there is no cervix."""

    pixels: Pixels
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


def open_records(
    records: Sequence[Record], use: Callable[[Record, Picture], T], *, cancelled: Callable[[], bool], threads: int = 2
) -> list[T]:
    """Decode every record and keep what `use` makes of it, in order. Pillow decodes without the interpreter's lock, so threads help.

    Raises TrainingRefused naming the first picture that cannot be decoded.
    """

    def one(record: Record) -> T:
        if cancelled():
            raise Cancelled
        try:
            return use(record, decode(record.path))
        except DecodeError as error:
            raise TrainingRefused(f"{record.path.name} ({record.site}) cannot be trained on: {error}") from error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, records))


def load_canvases(records: Sequence[Record], size: int, *, cancelled: Callable[[], bool]) -> Canvases:
    """Canvases of records whose truth is known: a box, or a kind that has no cervix."""
    if not records:
        return Canvases(np.zeros((0, size, size, 3), dtype=np.uint8), np.zeros((0, 4), dtype=np.float32))
    loaded = open_records(records, lambda _, picture: letterbox(picture, size), cancelled=cancelled)
    boxes = np.full((len(records), 4), np.nan, dtype=np.float32)
    for row, (record, (_, factor)) in enumerate(zip(records, loaded, strict=True)):
        if record.box is not None:
            boxes[row] = np.array([record.box.x0, record.box.y0, record.box.x1, record.box.y1]) * factor
    return Canvases(pixels=np.stack([pixels for pixels, _ in loaded]), boxes=boxes)


def background_strips(canvases: Canvases, *, least: float = 0.25) -> Pixels:
    """Real negatives: what lies beside the cervix (speculum, walls), cut from pictures whose box leaves a strip of `least` of the side.

    Returns (M, S, S, 3) bytes; M may be 0.
    """
    from PIL import Image

    side = canvases.pixels.shape[1]
    strips = []
    for pixels, box in zip(canvases.pixels, canvases.boxes, strict=True):
        if np.isnan(box).any():
            continue
        extent = np.argwhere(pixels.any(axis=(1, 2)))[-1, 0] + 1, np.argwhere(pixels.any(axis=(0, 2)))[-1, 0] + 1
        x0, y0, x1, y1 = box.round().astype(int)
        beside = ((0, 0, x0, extent[0]), (x1, 0, extent[1], extent[0]), (0, 0, extent[1], y0), (0, y1, extent[1], extent[0]))
        for left, top, right, bottom in beside:
            if min(right - left, bottom - top) >= least * side:
                cut = Image.fromarray(pixels[top:bottom, left:right])
                strips.append(np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR)))
    return np.stack(strips) if strips else np.zeros((0, side, side, 3), dtype=np.uint8)


def has_detector_truth(record: Record) -> bool:
    """A box is known, or that there is nothing to find."""
    return record.box is not None or record.kind is Kind.NOT_CERVIX
