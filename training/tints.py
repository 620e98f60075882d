"""Synthetic green filter and Lugol's iodine, laid on pictures that have neither. numpy and Pillow only.

Measured on the cervix (medians of R, G, B): white light and acetic acid 189/119/115 (colposcope), 156/106/136 (mobile device);
mild optical green 137/132/129, which is a gain of 0.7/1.25/1.25 on the same patient's white light, and of 0.8/1.0/1.05 at its faintest;
strong digital green 1/85/1; iodine 179/113/74 (colposcope), 140/84/83 (mobile device).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

MILD = 0.3
"""Strength at which the green filter equals the mild optical one of the measurements above."""


def smooth_noise(rng: np.random.Generator, width: int, height: int, cells: float, octaves: int = 3) -> Plane:
    """Smooth noise of `height` x `width`, about 0 with a standard deviation of 1; `cells` is the number of bumps along the longer side."""
    total = np.zeros((height, width), np.float32)
    longer = max(width, height)
    for octave in range(octaves):
        count = cells * 2**octave
        grid = (max(2, round(count * height / longer) + 1), max(2, round(count * width / longer) + 1))
        coarse = Image.fromarray(rng.standard_normal(grid, np.float32))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) * np.float32(0.5**octave)
    spread = float(total.std())
    scaled: Plane = (total / np.float32(spread if spread > 0 else 1)).astype(np.float32)
    return scaled


def smoothstep(low: float, high: float, value: Plane) -> Plane:
    """0 below `low`, 1 above `high` (or the reverse when `low` > `high`), smooth between."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    eased: Plane = (t * t * (3 - 2 * t)).astype(np.float32, copy=False)
    return eased


def as_pixels(image: Plane) -> Pixels:
    """Round 0..255 floats to bytes, clipping what lies beyond."""
    rounded: Pixels = np.clip(image + np.float32(0.5), 0, 255).astype(np.uint8)
    return rounded


def green(rgb: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A green filter of `strength` 0 (none) to 1 (nearly pure green) over `rgb` (H x W x 3).

    0.05-0.3 is the faint range, hardly told from white light without the patient's other images. The method is drawn from `rng` and
    does not depend on the strength: with an equal generator the shift grows with the strength.
    """
    strength = float(np.clip(strength, 0, 1))
    optical, digital = _optical_gains(strength, rng), _digital_matrix(strength, rng)
    share = float(rng.choice([0.0, 1.0, rng.uniform(0, 1)], p=[0.6, 0.2, 0.2]))
    mix = (1 - share) * np.diag(optical) + share * digital
    return as_pixels(rgb.astype(np.float32) @ mix.T.astype(np.float32))


def _optical_gains(strength: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Gains of R, G, B of a glass filter: it dims red; blue passes in part, and the camera's exposure lifts the rest."""
    leak = rng.uniform(0.0, 0.02, 2)
    blue_pass = rng.beta(3.0, 1.0)
    stops = (0.0, MILD, 1.0)
    red = np.interp(strength, stops, (1.0, rng.uniform(0.60, 0.74), leak[0]))
    luma = np.interp(strength, stops, (1.0, rng.uniform(1.12, 1.32), rng.uniform(0.75, 1.15)))
    blue = np.interp(strength, stops, (1.0, 0.75 + 0.47 * blue_pass, leak[1]))
    return np.array([red, luma, blue])


def _digital_matrix(strength: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The matrix of a software filter: it blends the picture with its own luminance in green."""
    weights = np.array([rng.uniform(0.05, 0.3), rng.uniform(0.55, 0.85), rng.uniform(0.02, 0.15)])
    tone = np.array([rng.uniform(0.0, 0.03), rng.uniform(0.85, 1.1), rng.uniform(0.0, 0.03)])
    return (1 - strength) * np.eye(3) + strength * np.outer(tone, weights / weights.sum())


def lugol(rgb: Pixels, strength: float, rng: np.random.Generator, box: Box | None = None) -> Pixels:
    """Lugol's iodine of `strength` 0 (none) to 1 (deep) on `rgb`: mahogany where the epithelium takes it, yellow where it does not.

    `box` is the cervix (x0, y0, x1, y1) in pixels; without it the stain is centred on the frame. Highlights stay white, since they lie
    on the film of liquid. The pattern does not depend on the strength.
    """
    height, width = rgb.shape[:2]
    strength = float(np.clip(strength, 0, 1))
    radius = _distance(width, height, box or (0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height), rng)
    warp = smooth_noise(rng, width, height, 6)
    reach = rng.uniform(1.15, 2.2)
    wet = 1 - smoothstep(reach - 0.15, reach + 0.25, radius + np.float32(0.14) * warp)
    bare = _unstained(radius, warp, rng)
    base = rgb.astype(np.float32)
    luma = base @ np.array([0.35, 0.5, 0.15], np.float32)
    shine = smoothstep(185, 235, base.min(axis=2))
    stained = _ramp(luma, rng.uniform(0.08, 1.0), smooth_noise(rng, width, height, 5), rng)
    yellow = _yellow(luma, base, rng)
    liquid = stained + bare[..., None] * (yellow - stained)
    speckle = np.clip(1 + np.float32(0.12) * smooth_noise(rng, width, height, 60, 2), 0, 1.1)
    alpha = np.clip(wet * speckle * (1 - np.float32(0.9) * shine) * np.float32(0.93 * strength**0.8), 0, 1)
    return as_pixels(base + alpha[..., None] * (liquid - base))


def _distance(width: int, height: int, box: Box, rng: np.random.Generator) -> Plane:
    """Distance from the middle of `box`, 1 on its inscribed ellipse; the centre wanders by a tenth of the box."""
    x0, y0, x1, y1 = box
    half_x, half_y = max(x1 - x0, 2.0) / 2, max(y1 - y0, 2.0) / 2
    shift = rng.uniform(-0.2, 0.2, 2)
    x = (np.arange(width, dtype=np.float32) - np.float32((x0 + x1) / 2 + shift[0] * half_x)) / np.float32(half_x)
    y = (np.arange(height, dtype=np.float32) - np.float32((y0 + y1) / 2 + shift[1] * half_y)) / np.float32(half_y)
    return np.sqrt(x[None, :] ** 2 + y[:, None] ** 2)


def _unstained(radius: Plane, warp: Plane, rng: np.random.Generator) -> Plane:
    """0..1: columnar or altered epithelium around the os and islands elsewhere, which stay yellow."""
    height, width = radius.shape
    detail = smooth_noise(rng, width, height, 14)
    size = rng.choice([rng.uniform(0.0, 0.25), rng.uniform(0.3, 0.75)])
    centre = 1 - smoothstep(size - 0.04, size + 0.06, radius + np.float32(0.16) * warp + np.float32(0.07) * detail)
    level = rng.uniform(1.1, 2.4)
    islands = smoothstep(level, level + 0.25, np.float32(0.8) * detail - np.float32(0.6) * warp)
    return np.maximum(centre, islands) * np.float32(rng.uniform(0.7, 1.0))


def _ramp(luma: Plane, depth: float, cloud: Plane, rng: np.random.Generator) -> Plane:
    """The stained epithelium, from orange-brown (`depth` 0) over mahogany to nearly black (1), lit as the picture was."""
    depths = np.clip(np.float32(depth) + np.float32(0.16) * cloud, 0, 1)
    stops = (0.0, 0.35, 0.7, 1.0)
    tones = np.array([[222, 128, 66], [176, 80, 38], [104, 38, 20], [44, 14, 9]], np.float32)
    tones *= rng.uniform(0.92, 1.08, 3).astype(np.float32)
    colour = np.stack([np.interp(depths, stops, tones[:, c]).astype(np.float32) for c in range(3)], axis=2)
    light = np.clip(luma / np.float32(118), 0.05, 1.7) ** np.float32(1.15)
    lit: Plane = (colour * light[..., None]).astype(np.float32, copy=False)
    return lit


def _yellow(luma: Plane, base: Plane, rng: np.random.Generator) -> Plane:
    """Epithelium without glycogen: mustard to salmon, with the redness of the tissue shining through."""
    mustard = np.array([232, 168, 62], np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
    salmon = np.array([216, 116, 78], np.float32) + rng.uniform(-14, 14, 3).astype(np.float32)
    share = np.float32(rng.uniform(0, 1))
    light = np.clip(luma / np.float32(118), 0.05, 1.5)[..., None]
    tissue = base * np.array([0.2, 0.18, 0.12], np.float32)
    tinted: Plane = (light * (share * mustard + (1 - share) * salmon) * np.float32(0.8) + tissue).astype(np.float32, copy=False)
    return tinted
