"""Augmentation on batches of tensors (N, 3, H, W) in [0, 1]: geometry, colour, and synthetic green and iodine (METHODS 2 and 4).

Every random number comes from the generator that is handed in, so that an epoch can be repeated exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from inference.preprocess import CROP_MARGIN
from training.degrade import as_jpeg

LUMA = (0.299, 0.587, 0.114)
WIDE_MARGIN = 0.35
"""Training crops show more than inference crops, so that shifts, turns and scales stay inside real pixels."""
WIDER = (1 + 2 * WIDE_MARGIN) / (1 + 2 * CROP_MARGIN)
"""Side of a wide crop, in sides of the inference crop."""
JPEG_QUALITY = (30, 95)
"""Of JPEG as augmentation, both ends included: from what messengers leave of a picture to what cameras write."""


def uniform(count: int, low: float, high: float, rng: Generator) -> Tensor:
    return torch.rand(count, generator=rng) * (high - low) + low


def chance(count: int, share: float, rng: Generator) -> Tensor:
    return torch.rand(count, generator=rng) < share


def to_float(pixels: Tensor) -> Tensor:
    """Bytes (N, H, W, 3) to floats (N, 3, H, W) in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float().div_(255.0)


def warp(images: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Sample (N, 3, size, size) through matrices (N, 2, 3) from output to input, both in [-1, 1]; outside is black."""
    grid = F.affine_grid(matrices, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def output_to_input(angle: Tensor, scale_x: Tensor, scale_y: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """Matrices (N, 2, 3): turn by `angle` (radians), stretch by `scale`, move by `shift` (in half sides)."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [torch.stack([cos * scale_x, -sin * scale_y, shift_x], 1), torch.stack([sin * scale_x, cos * scale_y, shift_y], 1)]
    return torch.stack(rows, 1)


# --- classifier crops -----------------------------------------------------------------------------------------------------------


def classifier_views(images: Tensor, size: int, rng: Generator) -> Tensor:
    """Turned by +-180 degrees, mirrored, at 0.5-1.35 of the inference crop's side, from wide crops.

    Up to 1.35, as the wide crop of a picture without a box is the whole frame, which is also what inference sees of it.
    """
    count = len(images)
    side = uniform(count, 0.5, 1.35, rng) / WIDER
    stretch = torch.exp(uniform(count, -0.12, 0.12, rng))
    room = (1 - side).clamp(min=0) * 0.7
    mirror = torch.where(chance(count, 0.5, rng), -1.0, 1.0)
    matrices = output_to_input(
        uniform(count, -math.pi, math.pi, rng), side * stretch * mirror, side / stretch,
        uniform(count, -1, 1, rng) * room, uniform(count, -1, 1, rng) * room,
    )  # fmt: skip
    return warp(images, matrices, size)


FRAME_ROOM = 1.25
"""Side of the frames that views are cut from, in sides of the view."""


def frame_views(images: Tensor, size: int, rng: Generator) -> Tensor:
    """Turned by +-180 degrees, mirrored, at 0.6-1.05 of the frame's side, from whole frames squeezed to a square."""
    count = len(images)
    side, stretch = uniform(count, 0.6, 1.05, rng), torch.exp(uniform(count, -0.12, 0.12, rng))
    room, mirror = (1 - side).clamp(min=0), torch.where(chance(count, 0.5, rng), -1.0, 1.0)
    matrices = output_to_input(
        uniform(count, -math.pi, math.pi, rng), side * stretch * mirror, side / stretch,
        uniform(count, -1, 1, rng) * room, uniform(count, -1, 1, rng) * room,
    )  # fmt: skip
    return warp(images, matrices, size)


def cropped_views(images: Tensor, size: int, rng: Generator) -> Tensor:
    """The paper's views from inference crops, or whole frames: random resized crop (area 0.08-1, ratio 3:4-4:3), turned by +-15 degrees,
    mirrored."""
    count = len(images)
    area, ratio = uniform(count, 0.08, 1.0, rng), torch.exp(uniform(count, math.log(3 / 4), math.log(4 / 3), rng))
    wide, high = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    mirror = torch.where(chance(count, 0.5, rng), -1.0, 1.0)
    matrices = output_to_input(
        uniform(count, -math.pi / 12, math.pi / 12, rng), wide * mirror, high,
        uniform(count, -1, 1, rng) * (1 - wide), uniform(count, -1, 1, rng) * (1 - high),
    )  # fmt: skip
    return warp(images, matrices, size)


def inner(wide: Tensor) -> Tensor:
    """The inference crop inside wide crops (N, 3, S, S), at its own pixels."""
    side = wide.shape[-1]
    edge = round(side * (1 - 1 / WIDER) / 2)
    return wide[:, :, edge : side - edge, edge : side - edge]


# --- colour ---------------------------------------------------------------------------------------------------------------------


def _luma(images: Tensor) -> Tensor:
    return (images * torch.tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


@dataclass(frozen=True, slots=True)
class Light:
    """How cameras show the same scene, one row each: logarithms of gamma, contrast, saturation and exposure (N,), channel gains (N, 3)."""

    gamma: Tensor
    gains: Tensor
    contrast: Tensor
    saturation: Tensor
    exposure: Tensor

    def of(self, rows: Tensor) -> Light:
        return Light(self.gamma[rows], self.gains[rows], self.contrast[rows], self.saturation[rows], self.exposure[rows])

    def on(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in this light."""
        out = images.clamp(1e-4, 1) ** _per_image(torch.exp(self.gamma))
        out = out * self.gains.view(-1, 3, 1, 1)
        middle = out.mean((1, 2, 3), keepdim=True)
        out = (out - middle) * _per_image(torch.exp(self.contrast)) + middle
        grey = _luma(out)
        out = grey + (out - grey) * _per_image(torch.exp(self.saturation))
        return (out * _per_image(torch.exp(self.exposure))).clamp(0, 1)


def some_light(count: int, rng: Generator, *, gain: float = 0.07) -> Light:
    """Small global channel gain, gamma, contrast and saturation: what differs between devices, and no hue shift (colour is the signal)."""
    gamma = uniform(count, -0.45, 0.45, rng)
    gains = 1 + (torch.rand(count, 3, generator=rng) * 2 - 1) * gain
    return Light(gamma, gains, uniform(count, -0.3, 0.45, rng), uniform(count, -0.4, 0.4, rng), uniform(count, -0.25, 0.2, rng))


def light(images: Tensor, rng: Generator, *, gain: float = 0.07) -> Tensor:
    """Each image (N, 3, H, W) in a light of its own."""
    return some_light(len(images), rng, gain=gain).on(images)


def soften(images: Tensor, rng: Generator) -> Tensor:
    """Blur a third of the images by going through a smaller size, and add a little noise."""
    count, side = len(images), images.shape[-1]
    small = F.interpolate(images, size=max(8, side // int(torch.randint(2, 5, (1,), generator=rng))), mode="bilinear", antialias=True)
    blurred = F.interpolate(small, size=(side, side), mode="bilinear")
    out = torch.where(_per_image(chance(count, 0.25, rng)), blurred, images)
    noise = torch.randn(out.shape, generator=rng) * _per_image(uniform(count, 0, 0.03, rng))
    return (out + noise).clamp(0, 1)


def recompress(images: Tensor, share: float, rng: Generator) -> Tensor:
    """A `share` of the images (N, 3, H, W) as they come out of a JPEG of JPEG_QUALITY, with colour at half the size. Of 0 no random number
    is drawn."""
    if not share:
        return images
    low, high = JPEG_QUALITY
    picked, qualities = chance(len(images), share, rng), torch.randint(low, high + 1, (len(images),), generator=rng)
    rows = picked.nonzero().flatten()
    pixels = (images[rows].permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    seen = [as_jpeg(one, quality) for one, quality in zip(pixels, qualities[rows].tolist(), strict=True)]
    out = images.clone()
    if seen:
        out[rows] = to_float(torch.from_numpy(np.stack(seen)))
    return out


# --- synthetic tints ------------------------------------------------------------------------------------------------------------


def green_tint(images: Tensor, strength: Tensor, rng: Generator) -> Tensor:
    """A green filter of `strength` (N,) in [0, 1], of four sorts, as such filters are optical or digital:

    dyed (towards a pure green picture), shadowed (red sinks and green rises in the dark, lights stay: a device's white balance over a
    mild filter), veiled (a green haze is added), optical (glass that takes red away, while the camera's exposure lifts the rest).
    """
    count = len(images)
    s = _per_image(strength)
    blue = _per_image(uniform(count, 0.05, 0.55, rng))
    ones = torch.ones_like(s)
    dye = torch.cat([0.06 * ones, 0.95 * ones, blue], 1)
    dyed = images * (1 - s) + s * dye * (0.35 * images[:, 1:2] + 0.65 * _luma(images))
    depth = _per_image(uniform(count, 0.6, 1.3, rng))
    gammas = torch.cat([1 + depth * s, 1 - 0.45 * depth * s.clamp(max=1), 1 + (blue - 0.45) * s], 1).clamp(min=0.35)
    shadowed = images.clamp(1e-4, 1) ** gammas
    haze = torch.cat([0.08 * ones, 0.42 * ones, 0.15 * ones + 0.4 * blue], 1)
    veiled = images * (1 - 0.55 * s) + 0.55 * s * haze
    lift = 1 + _per_image(uniform(count, 0.05, 0.45, rng)) * s
    gains = torch.cat([lift * (1 - 0.75 * s), lift, lift * (1 - s * _per_image(uniform(count, -0.15, 0.6, rng)))], 1)
    optical = images * gains
    sort = _per_image(torch.rand(count, generator=rng))
    rest = torch.where(sort < 0.55, shadowed, torch.where(sort < 0.65, veiled, optical))
    return torch.where(sort < 0.3, dyed, rest).clamp(0, 1)


def iodine_stain(images: Tensor, strength: Tensor, rng: Generator) -> Tensor:
    """Lugol's iodine of `strength` (N,) in [0, 1]: mahogany patches with ragged borders, the rest of the tissue turned yellow."""
    count, side = len(images), images.shape[-1]
    if count == 0:
        return images
    s = _per_image(strength)
    coarse = F.interpolate(torch.randn(count, 1, 4, 4, generator=rng), size=(side, side), mode="bicubic")
    fine = F.interpolate(torch.randn(count, 1, 14, 14, generator=rng), size=(side, side), mode="bilinear")
    level = _per_image(uniform(count, -1.2, 0.7, rng))
    patch = torch.sigmoid(7 * (coarse + 0.35 * fine - level))
    brown = torch.stack([uniform(count, 0.40, 0.80, rng), uniform(count, 0.15, 0.42, rng), uniform(count, 0.03, 0.22, rng)], 1)
    yellow = torch.stack([uniform(count, 0.85, 1.1, rng), uniform(count, 0.55, 0.85, rng), uniform(count, 0.15, 0.5, rng)], 1)
    ground = 0.5 * images + 0.5 * _luma(images)
    stained = ground * (patch * brown[:, :, None, None] + (1 - patch) * yellow[:, :, None, None]) * 1.1
    return (images * (1 - s) + stained * s).clamp(0, 1)


def tint_some(images: Tensor, targets: Tensor, green: float, iodine: float, rng: Generator) -> tuple[Tensor, Tensor]:
    """Lay synthetic green (strength 0.05-1) on a share of the regular images (target 0) and iodine on another."""
    count = len(images)
    pick = torch.rand(count, generator=rng)
    regular = targets == 0
    greened, stained = regular & (pick < green), regular & (pick > 1 - iodine)
    # Squared: faint filters are where the paper missed, so they come oftener
    strength = 0.05 + 0.95 * uniform(count, 0, 1, rng) ** 1.6
    out = images.clone()
    out[greened] = green_tint(images[greened], strength[greened], rng)
    out[stained] = iodine_stain(images[stained], uniform(count, 0.45, 1, rng)[stained], rng)
    return out, torch.where(greened, 1, torch.where(stained, 2, targets))


# --- detector -------------------------------------------------------------------------------------------------------------------


def detector_views(images: Tensor, boxes: Tensor, size: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Mirrored, turned by +-25 degrees, zoomed and shifted canvases with their boxes.

    boxes: (N, 4) in pixels of the input canvas, NaN rows for negatives; returned in pixels of the output. The box of a turned cervix is
    that of the ellipse inside the old box: the hull of turned corners would grow with every angle.
    """
    count, side = len(images), images.shape[-1]
    has = ~boxes.isnan().any(1)
    safe = torch.where(has[:, None], boxes, torch.tensor([0.25, 0.25, 0.75, 0.75]) * side)
    centre = torch.stack([safe[:, 0] + safe[:, 2], safe[:, 1] + safe[:, 3]], 1) / side - 1
    half = torch.stack([safe[:, 2] - safe[:, 0], safe[:, 3] - safe[:, 1]], 1) / side
    angle = torch.where(chance(count, 0.7, rng), uniform(count, -0.45, 0.45, rng), 0.0)
    stretch = torch.exp(uniform(count, -0.2, 0.2, rng))
    # The window (half side `zoom`) never gets smaller than what makes the cervix fill the frame
    zoom = torch.maximum(torch.exp(uniform(count, -0.55, 0.35, rng)), half.amax(1) * uniform(count, 0.85, 1.3, rng))
    sx, sy = zoom * stretch, zoom / stretch
    mirror = torch.where(chance(count, 0.5, rng), -1.0, 1.0)
    slack = torch.stack([sx, sy], 1) * 0.5
    shift = centre * torch.minimum(zoom, torch.ones_like(zoom))[:, None] * 0.6 + (torch.rand(count, 2, generator=rng) * 2 - 1) * slack * 0.6
    shift = torch.minimum(torch.maximum(shift, centre - slack), centre + slack)
    out = warp(images, output_to_input(angle, sx * mirror, sy, shift[:, 0], shift[:, 1]), size)
    return out, _warp_boxes(centre, half, angle, sx * mirror, sy, shift, has, size)


def _warp_boxes(centre: Tensor, half: Tensor, angle: Tensor, sx: Tensor, sy: Tensor, shift: Tensor, has: Tensor, size: int) -> Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    dx, dy = (centre - shift).unbind(1)
    cx, cy = (cos * dx + sin * dy) / sx, (-sin * dx + cos * dy) / sy
    hx = torch.sqrt((cos * half[:, 0]) ** 2 + (sin * half[:, 1]) ** 2) / sx.abs()
    hy = torch.sqrt((sin * half[:, 0]) ** 2 + (cos * half[:, 1]) ** 2) / sy
    corners = torch.stack([cx - hx, cy - hy, cx + hx, cy + hy], 1)
    boxes = ((corners + 1) * size / 2).clamp(0, size)
    return torch.where(has[:, None], boxes, torch.nan)


def detector_colours(images: Tensor, rng: Generator) -> Tensor:
    """White light, green or iodine at random: a detector that saw only white light fails just on the images that are sought."""
    count = len(images)
    pick = torch.rand(count, generator=rng)
    greened, stained, out = pick < 0.3, pick > 0.85, images.clone()
    out[greened] = green_tint(images[greened], uniform(count, 0.1, 1, rng)[greened], rng)
    out[stained] = iodine_stain(images[stained], uniform(count, 0.4, 1, rng)[stained], rng)
    return soften(light(out, rng, gain=0.12), rng)
