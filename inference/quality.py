"""How good a picture is, and whether it shows a cervix: measures of one crop, and findings by the bundle's limits. numpy only.

Everything is measured on a square of one size, so that a thumbnail and twelve megapixels give comparable numbers, and inside the
ellipse that the square holds, as corners are speculum, scope rim or burnt-in text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.preprocess import Pixels
from inference.types import Kind

SIDE = 256
"""Crops are measured at one size, as the variance of the Laplacian depends on it."""
NATIVE_RANGE = (-2.0, 0.5)
SATURATED = 250
WHITE = 240
"""A pixel whose three channels reach this is burnt out: tissue has no white of its own."""
LEVELS = 4
"""Laplacians are taken at 256, 128, 64 and 32 pixels a side."""
TILES = 8
PERCENTILES = (15, 50, 85)
"""Of the tiles: the quiet ones tell the noise, the busy ones whether anything is in focus."""
FLOOR = 1.0
"""Added to energies (grey levels squared) before the logarithm, so that flat and black pictures have one."""

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]


def _ellipse(side: int) -> NDArray[np.bool_]:
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    inside: NDArray[np.bool_] = axis[None, :] ** 2 + axis[:, None] ** 2 <= 1
    return inside


INSIDE = _ellipse(SIDE // 2)
"""Of every second pixel: enough for shares and means, at a quarter of the time."""
INSIDE_TILES = _ellipse(TILES)


def measure(crop: Pixels) -> dict[str, float]:
    """Quality of a crop (256, 256, 3) of bytes.

    `sharpness`: variance of the Laplacian of luma in [0, 255] (Pech-Pacheco et al. 2000); `glare`: share of pixels with all channels
    at 250 or above; `exposure`: mean luma in [0, 1]. These three over the whole square. Inside the ellipse: `detail_<level>_<percentile>`
    (`_details`), `contrast`: log of luma's standard deviation; `light`, `middle`, `shade`: 95th, 50th and 5th percentile of luma in [0, 1];
    `white`: share of burnt-out pixels; `glare_blob`: share of the largest connected burnt-out spot; `washed`: share of pixels with two
    channels at 250 or above; `red`, `green`, `red_spread`, `green_spread`, `colour`: mean and standard deviation of R and G as shares of
    R + G + B, and mean saturation. How large the crop was in its file, `native`, is not to be seen in it: see there.
    """
    luma = crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    pixels = crop[::2, ::2]
    least, seen = darkest(pixels), luma[::2, ::2][INSIDE]
    burnt = (least >= WHITE) & INSIDE
    shade, middle, light = (float(value) / 255.0 for value in np.percentile(seen, (5, 50, 95)))
    return {
        "sharpness": float(_laplacian(luma).var()), "glare": float((darkest(crop) >= SATURATED).mean()),
        "exposure": float(luma.mean() / 255.0), **_details(luma), "contrast": float(np.log(seen.std() + 1.0)),
        "light": light, "middle": middle, "shade": shade, "white": float(burnt.sum() / INSIDE.sum()),
        "glare_blob": largest_blob(burnt) / float(INSIDE.sum()), **_colours(pixels[INSIDE]),
    }  # fmt: skip


def native(width: float, height: float) -> float:
    """How finely a crop of so many pixels of its file was taken, against what it is measured at: log2 of its side over SIDE, in
    NATIVE_RANGE. Below 0 it was enlarged, and has no fine detail however sharp it is; what is far above 0 is reduced, and no sharper
    for it."""
    least, most = NATIVE_RANGE
    return min(max(math.log2(max(math.sqrt(width * height), 1.0) / SIDE), least), most)


def darkest(pixels: Pixels) -> NDArray[np.uint8]:
    """The smallest channel of pixels (..., 3). By planes: numpy walks an axis of three slowly."""
    return np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def brightest(pixels: Pixels) -> NDArray[np.uint8]:
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _between(pixels: Pixels) -> NDArray[np.uint8]:
    """The channel between the two others."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.maximum(np.minimum(red, green), np.minimum(np.maximum(red, green), blue))


def _laplacian(luma: Plane) -> Plane:
    edges: Plane = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return edges


def _details(luma: Plane) -> dict[str, float]:
    """Log energy of the Laplacian at each level of a pyramid, as percentiles over the tiles of 8 x 8.

    What is out of focus loses the fine levels and keeps the coarse ones; a smooth cervix has little of either. The ratio between levels
    tells the two apart where the energy of one level, `sharpness`, cannot.
    """
    found: dict[str, float] = {}
    for level in range(LEVELS):
        energy = np.pad(_laplacian(luma) ** 2, 1, mode="edge")
        step = luma.shape[0] // TILES
        tiles = energy.reshape(TILES, step, TILES, step).mean(axis=(1, 3))[INSIDE_TILES]
        values = np.log(np.percentile(tiles, PERCENTILES) + FLOOR)
        found |= {f"detail_{level}_{p}": float(value) for p, value in zip(PERCENTILES, values, strict=True)}
        half = luma.shape[0] // 2
        luma = luma.reshape(half, 2, half, 2).mean(axis=(1, 3))
    return found


def _colours(pixels: Pixels) -> dict[str, float]:
    values = pixels.astype(np.float32) + 1.0
    total = values[:, 0] + values[:, 1] + values[:, 2]
    red, green = values[:, 0] / total, values[:, 1] / total
    colour = 1.0 - (darkest(pixels) + np.float32(1)) / (brightest(pixels) + np.float32(1))
    return {
        "washed": float((_between(pixels) >= SATURATED).mean()), "red": float(red.mean()), "green": float(green.mean()),
        "red_spread": float(red.std()), "green_spread": float(green.std()), "colour": float(colour.mean()),
    }  # fmt: skip


def largest_blob(marked: NDArray[np.bool_]) -> int:
    """Pixels of the largest spot of marked pixels that touch by an edge; 0 where none is marked."""
    from scipy.ndimage import label

    if not marked.any():
        return 0
    spots, count = label(marked)
    return int(np.bincount(spots.ravel(), minlength=count + 1)[1:].max())


# --- what the bundle makes of the measures ----------------------------------------------------------------------------------------

DETAILS = tuple(f"detail_{level}_{p}" for level in range(LEVELS) for p in PERCENTILES)
BLUR_MEASURES = (*DETAILS, "contrast")
NATIVE = "native"
CONTENT_MEASURES = (
    *DETAILS, "contrast", "light", "middle", "shade", "white", "washed", "red", "green", "red_spread", "green_spread", "colour",
)  # fmt: skip

BLURRED, GLARE, TOO_DARK, TOO_BRIGHT, NOT_A_CERVIX = "blurred", "glare", "too_dark", "too_bright", "not_a_cervix"
FINDINGS = (NOT_A_CERVIX, TOO_DARK, TOO_BRIGHT, BLURRED, GLARE)
"""Codes, the one that explains most first."""
BEYOND_USE = frozenset({TOO_DARK, TOO_BRIGHT, BLURRED})
"""Findings that leave nothing to classify; glare hides a part and is for people to weigh."""


@dataclass(frozen=True, slots=True)
class Head:
    """Logistic regression. p = sigmoid(intercept + weights . x); `weights` (D,) are for the raw, unscaled features."""

    intercept: float
    weights: tuple[float, ...]

    def probability(self, features: Sequence[float] | Floats) -> float:
        """In [0, 1]. Raises ValueError when the number of features is not that of the weights."""
        if len(features) != len(self.weights):
            raise ValueError(f"the head has {len(self.weights)} weights for {len(features)} features")
        z = self.intercept + float(np.dot(np.asarray(features, np.float64), np.asarray(self.weights, np.float64)))
        return float(1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0))))


@dataclass(frozen=True, slots=True)
class Limits:
    """A picture is flagged above these; for `too_dark`, where the 95th percentile of luma (`light`) lies below it."""

    blurred: float
    glare: float
    too_dark: float
    too_bright: float
    not_a_cervix: float


@dataclass(frozen=True, slots=True)
class Judge:
    """bundle.json's `quality`: two small heads and the limits. A bundle without it measures and judges nothing.

    `by_size`: the head for blur knows how large the crop was in its file, `by_texture`: and what the classifier's first levels see of it
    (`blur_features`); those of older bundles do not.
    """

    blur: Head
    content: Head
    limits: Limits
    by_size: bool = False
    by_texture: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Judge:
        blur, content = (Head(float(values[name]["intercept"]), tuple(values[name]["weights"])) for name in ("blur", "content"))
        by_size, by_texture = (bool(values.get(name, False)) for name in ("by_size", "by_texture"))
        return Judge(blur, content, Limits(**values["limits"]), by_size=by_size, by_texture=by_texture)

    def scored(self, measures: Mapping[str, float], seen: Seen) -> dict[str, float]:
        """The measures with `blur` and `not_a_cervix`, both probabilities, added."""
        blur = self.blur.probability(blur_features(measures, by_size=self.by_size, texture=seen.texture if self.by_texture else ()))
        return {**measures, "blur": blur, NOT_A_CERVIX: self.content.probability(content_features(measures, seen))}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the networks saw: best detector score (0 without a box), Deep SAD distance, embedding (D,) and texture (T,) of the crop."""

    score: float
    distance: float
    embedding: Sequence[float]
    texture: Sequence[float] = ()


def blur_features(measures: Mapping[str, float], *, by_size: bool, texture: Sequence[float] = ()) -> Floats:
    """Features of the head for blur: BLUR_MEASURES (13,), then the texture (T,), then by size also `native` and DETAILS times it, over all
    its range and once more below 0 alone (39 + T,): how little fine detail is too little depends on how finely the crop was taken."""
    known = np.array([*(measures[name] for name in BLUR_MEASURES), *texture], np.float64)
    if not by_size:
        return known
    size = measures[NATIVE]
    per_size = np.array([1.0, *(measures[name] for name in DETAILS)])
    return np.concatenate([known, size * per_size, min(size, 0.0) * per_size])


def content_features(measures: Mapping[str, float], seen: Seen) -> Floats:
    """Features of the not-a-cervix head: log odds of the detector's score, log distance, CONTENT_MEASURES, the embedding."""
    score = min(max(seen.score, 0.01), 0.99)
    known = [np.log(score / (1.0 - score)), np.log(seen.distance + 1e-6), *(measures[name] for name in CONTENT_MEASURES)]
    return np.concatenate([np.array(known, np.float64), np.asarray(seen.embedding, np.float64)])


def findings(measures: Mapping[str, float], limits: Limits) -> tuple[str, ...]:
    """Codes of FINDINGS that hold, in that order. In the dark and in the burnt-out neither focus nor glare can be told."""
    holds = {
        NOT_A_CERVIX: measures[NOT_A_CERVIX] > limits.not_a_cervix, TOO_DARK: measures["light"] < limits.too_dark,
        TOO_BRIGHT: measures["washed"] > limits.too_bright, BLURRED: measures["blur"] > limits.blurred,
        GLARE: measures["glare_blob"] > limits.glare,
    }  # fmt: skip
    if holds[TOO_DARK] or holds[TOO_BRIGHT]:
        holds[BLURRED] = holds[GLARE] = False
    return tuple(code for code in FINDINGS if holds[code])


def kind_of(found: Sequence[str], otherwise: Kind) -> Kind:
    """The kind that findings make of a picture: not a cervix before unusable; `otherwise` where neither."""
    if NOT_A_CERVIX in found:
        return Kind.NOT_CERVIX
    return Kind.UNUSABLE if BEYOND_USE.intersection(found) else otherwise
