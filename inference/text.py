"""Regions of text burnt into a picture: a small network that answers for every 4 x 4 pixels. Loads torch.

It belongs to no bundle: whether a picture may leave its site is not the champion's to say. Tuned to miss nothing, at the price of
pictures that a person at the site must look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy import ndimage
from torch import Tensor, nn

from inference.threads import use as use_threads

WEIGHTS = Path(__file__).with_name("text.safetensors")
SIDE = 640
"""Larger pictures are made this long."""
LEAST = 224
"""Narrower ones are made this wide, as the network has seen none that were smaller."""
STRIDE = 4
SURE, UNSURE = 0.95, 0.3
"""A region counts where one point of it is sure, and reaches as far as its points are not below unsure."""
MIN_POINTS = 6
MARGIN = 4
"""Pixels of the network's picture that a region is made larger by on every side, so that nothing of a letter looks out."""
Box = tuple[float, float, float, float]


def _near(channels: int, out: int, dilation: int) -> nn.Sequential:
    """A 3 x 3 convolution of each channel by itself, then one across channels: a tenth of the work of both in one."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, groups=channels, bias=False),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class TextNet(nn.Module):
    """RGB in [0, 1] (n, 3, h, w), h and w multiples of 4 -> logits (n, h / 4, w / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.blocks = nn.ModuleList(_near(32, 32, dilation) for dilation in (1, 2, 4, 8, 1))
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        found = self.stem(pictures)
        for block in self.blocks:
            found = found + block(found)
        answer: Tensor = self.head(found)[:, 0]
        return answer


@lru_cache
def opened(device: str = "cpu") -> TextNet:
    """The shipped network, once a process."""
    net = TextNet()
    net.load_state_dict(load_file(WEIGHTS))
    return net.to(device).eval()


def find(path: Path, *, device: str = "cpu", net: TextNet | None = None) -> list[Box]:
    """Text in a clean picture: boxes (x0, y0, x1, y1) in its pixels, none where there is none. Raises OSError where it cannot be read."""
    with Image.open(path) as picture:
        size = picture.size
        picture.draft("RGB", (SIDE, SIDE))
        small = shrunk(picture.convert("RGB"))
    heat = heat_of([small], net or opened(device), device)[0]
    return [_in_pixels(box, small.size, size) for box in regions(heat)]


def find_all(paths: Sequence[Path], *, device: str = "cpu", threads: int | None = None) -> list[list[tuple[float, ...]] | None]:
    """`find` for each, in order; None for a picture that cannot be read. `threads`: of torch, for this thread's calls."""
    if threads is not None:
        use_threads(threads)
    return [_or_none(path, device) for path in paths]


def _or_none(path: Path, device: str) -> list[tuple[float, ...]] | None:
    try:
        return [tuple(box) for box in find(path, device=device)]
    except (OSError, ValueError, SyntaxError):
        return None


def shrunk(picture: Image.Image) -> Image.Image:
    """At most SIDE pixels long and at least LEAST pixels wide, with sides that are multiples of the network's stride."""
    scale = min(1.0, SIDE / max(picture.size))
    if min(picture.size) * scale < LEAST:
        scale = LEAST / min(picture.size)
    width, height = (max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in picture.size)
    return picture if (width, height) == picture.size else picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def heat_of(pictures: Sequence[Image.Image], net: TextNet, device: str = "cpu") -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probability of text at every 4 x 4 pixels of pictures of one size: (n, h / 4, w / 4)."""
    batch = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    with torch.inference_mode():
        answer: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = (
            net(batch.to(device).permute(0, 3, 1, 2).float() / 255).sigmoid().cpu().numpy()
        )
    return answer


def regions(heat: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[Box]:
    """Connected regions of a heat map as boxes in pixels of the network's picture, the largest first. Pure."""
    labels, number = ndimage.label(heat >= UNSURE, structure=np.ones((3, 3)))
    if not number:
        return []
    peaks = ndimage.maximum(heat, labels, range(1, number + 1))
    points = ndimage.sum_labels(np.ones_like(heat), labels, range(1, number + 1))
    found = []
    for box, peak, count in zip(ndimage.find_objects(labels), peaks, points, strict=True):
        if peak >= SURE and count >= MIN_POINTS:
            rows, columns = box
            edges = (columns.start * STRIDE, rows.start * STRIDE, columns.stop * STRIDE, rows.stop * STRIDE)
            found.append((edges[0] - MARGIN, edges[1] - MARGIN, edges[2] + MARGIN, edges[3] + MARGIN))
    return sorted(found, key=lambda edge: (edge[0] - edge[2]) * (edge[3] - edge[1]))


def _in_pixels(box: Box, small: tuple[int, int], size: tuple[int, int]) -> Box:
    across, down = size[0] / small[0], size[1] / small[1]
    x0, y0, x1, y1 = box
    return (max(0.0, x0 * across), max(0.0, y0 * down), min(float(size[0]), x1 * across), min(float(size[1]), y1 * down))
