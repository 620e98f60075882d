"""What is written in a picture, taken out of its pixels; and where a site allows something to stand. Pure: numpy and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

Box = Sequence[float]
"""x0, y0, x1, y1 in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of every picture, as shares of its width and height, in which a device writes its timer."""

    x0: float
    y0: float
    x1: float
    y1: float

    def holds(self, box: Box, width: int, height: int) -> bool:
        x0, y0, x1, y1 = box
        return self.x0 * width <= x0 and self.y0 * height <= y0 and x1 <= self.x1 * width and y1 <= self.y1 * height


def blanked(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """A copy in which every box is filled from the pixels around it: nothing of what stood inside takes part."""
    pixels = np.asarray(picture.convert("RGB")).copy()
    for box in boxes:
        _fill(pixels, box)
    return Image.fromarray(pixels)


def _fill(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], box: Box) -> None:
    """Each pixel from the four beyond the box in its row and column, by nearness; an edge of the picture has none beyond."""
    height, width = pixels.shape[:2]
    x0, y0 = max(0, int(box[0])), max(0, int(box[1]))
    x1, y1 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    if x1 <= x0 or y1 <= y0:
        return
    down = np.arange(1, y1 - y0 + 1, dtype=np.float64)[:, None, None]
    right = np.arange(1, x1 - x0 + 1, dtype=np.float64)[None, :, None]
    total = np.zeros((y1 - y0, x1 - x0, 3))
    weights = np.zeros((y1 - y0, x1 - x0, 1))
    sides = (
        (y0 > 0, pixels[max(0, y0 - 1), x0:x1][None], down),
        (y1 < height, pixels[min(height - 1, y1), x0:x1][None], down[::-1]),
        (x0 > 0, pixels[y0:y1, max(0, x0 - 1)][:, None], right),
        (x1 < width, pixels[y0:y1, min(width - 1, x1)][:, None], right[:, ::-1]),
    )
    for there, line, away in sides:
        if there:
            total += line / away
            weights += np.broadcast_to(1 / away, weights.shape)
    pixels[y0:y1, x0:x1] = (total / np.maximum(weights, 1e-9)).round().astype(np.uint8)
