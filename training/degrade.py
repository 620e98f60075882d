"""Pictures spoilt on purpose (METHODS 1, 8): out of focus, shaken, too dark, too bright, glaring. Pure: same generator, same picture.

Lengths are shares of the shorter side, so that a fault is as bad on a thumbnail as on twelve megapixels. scipy, numpy and Pillow only.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import fft

from training.tints import Pixels, Plane, as_pixels, smooth_noise, smoothstep

DISPLAY_GAMMA = 2.2
"""A stop doubles the light; a pixel value follows it to the power 1 / 2.2 (sRGB, to a good approximation)."""

DEFOCUS = (0.012, 0.045)
"""Radius of the blur disc. At 0.012 vessels and the squamocolumnar border are gone, at 0.045 the os itself."""
SHAKE = (0.04, 0.14)
DARK = (-8.0, -5.0)
BRIGHT = (2.7, 4.4)
"""Stops of under- and over-exposure beyond use."""
GLARE = (0.08, 0.3)
"""Share of the disc that the picture holds which is burnt out."""


def defocus(pixels: Pixels, radius: float) -> Pixels:
    """Out of focus: every point becomes a disc of `radius` shares of the shorter side (geometric optics)."""
    reach = max(radius * min(pixels.shape[:2]), 0.5)
    half = math.ceil(reach)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    # The rim's pixels count by how much of them lies inside, or small radii would jump
    disc = np.clip(reach + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return _convolved(pixels, disc)


def shaken(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Moved during exposure: every point becomes a line of `length` shares of the shorter side at `angle` (radians)."""
    reach = max(length * min(pixels.shape[:2]) / 2, 0.5)
    half = math.ceil(reach)
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    line = np.clip(1 - np.abs(across), 0, 1) * np.clip(reach + 0.5 - np.abs(along), 0, 1)
    return _convolved(pixels, line.astype(np.float32))


def _convolved(pixels: Pixels, kernel: Plane) -> Pixels:
    """Each channel under the normalised `kernel` (odd sides); beyond the rim the picture is mirrored."""
    height, width = pixels.shape[:2]
    half = kernel.shape[0] // 2
    pad = ((half, half), (half, half), (0, 0))
    wide = np.pad(pixels, pad, mode="symmetric").astype(np.float32)
    shape = [fft.next_fast_len(side, real=True) for side in wide.shape[:2]]
    spectrum = fft.rfft2(kernel / kernel.sum(), shape)
    blurred = fft.irfft2(fft.rfft2(wide, shape, axes=(0, 1)) * spectrum[..., None], shape, axes=(0, 1))
    return as_pixels(blurred[2 * half : 2 * half + height, 2 * half : 2 * half + width])


def exposed(pixels: Pixels, stops: float) -> Pixels:
    """Exposed by `stops` more (less, below 0), clipped as a sensor clips."""
    return as_pixels(pixels.astype(np.float32) * np.float32(2.0 ** (stops / DISPLAY_GAMMA)))


def glaring(pixels: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """One to three burnt-out spots of the lamp that cover about `share` of the disc that the picture holds."""
    height, width = pixels.shape[:2]
    side, count = min(height, width), int(rng.integers(1, 4))
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    warp = np.float32(0.25) * smooth_noise(rng, width, height, 9)
    white = np.zeros((height, width), np.float32)
    radius = 0.5 * side * math.sqrt(share / count)
    for _ in range(count):
        cx, cy = width / 2 + rng.uniform(-0.2, 0.2) * side, height / 2 + rng.uniform(-0.2, 0.2) * side
        stretch = rng.uniform(0.7, 1.4)
        far = np.hypot((x - np.float32(cx)) * np.float32(stretch), (y - np.float32(cy)) / np.float32(stretch)) / np.float32(radius) + warp
        white = np.maximum(white, smoothstep(1.35, 0.95, far.astype(np.float32)))
    lit: Plane = pixels.astype(np.float32)
    return as_pixels(lit + white[..., None] * (np.float32(255) - lit))


def sensed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """What the camera adds after the lens: sensor noise of up to 4 grey levels, and JPEG. Noise is sharp even where the picture is not."""
    noisy = as_pixels(pixels + np.float32(rng.uniform(0, 4)) * rng.standard_normal(pixels.shape, np.float32))
    return as_jpeg(noisy, int(rng.integers(70, 96)))


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Pixels (H, W, 3) of bytes, written as JPEG of `quality` and read again."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _between(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """Log-uniform, so that faint faults are as frequent as strong ones."""
    return float(np.exp(rng.uniform(math.log(ends[0]), math.log(ends[1]))))


def _defocus(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return defocus(pixels, _between(DEFOCUS, rng))


def _shake(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return shaken(pixels, _between(SHAKE, rng), float(rng.uniform(0, math.pi)))


def _dark(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return exposed(pixels, float(rng.uniform(*DARK)))


def _bright(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return exposed(pixels, float(rng.uniform(*BRIGHT)))


def _glare(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return glaring(pixels, float(rng.uniform(*GLARE)), rng)


FAULTS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "defocus": _defocus, "shake": _shake, "too_dark": _dark, "too_bright": _bright, "glare": _glare,
}  # fmt: skip
"""Name -> how a picture is spoilt by it, beyond use, at a severity that the generator draws."""

FINDING_OF = {"defocus": "blurred", "shake": "blurred", "too_dark": "too_dark", "too_bright": "too_bright", "glare": "glare"}
"""The finding of `inference.quality` that each fault must give."""


def spoilt(pixels: Pixels, fault: str, rng: np.random.Generator) -> Pixels:
    """`pixels` (H, W, 3) with one of FAULTS, as the camera would have written it."""
    return sensed(FAULTS[fault](pixels, rng), rng)
