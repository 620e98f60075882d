"""Patient context (METHODS 5): an image against its exam's other images of the same device. numpy only.

The paper's missed images are 'hard to distinguish visually unless compared with the regular images from the same patient'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.preprocess import Pixels
from inference.types import Evidence, Kind

Floats = NDArray[np.float64]

SIDE = 64
"""Crop and frame are described at this side in pixels."""
QUANTILES = (0.25, 0.5, 0.75)
DARK, GLARE = 16, 245
"""Pixels of no colour: black borders, and highlights that show the lamp and not the tissue."""
LIMIT = 9.0
"""Log odds are cut here before they are compared."""
LUMA = np.array([0.299, 0.587, 0.114])

FEATURES = ("own", "own_minus_others", "red_green", "blue_green", "luma", "frame_red_green", "frame_blue_green", "deep_sad")
"""own: log odds of the kind against regular, as the image alone has them; own_minus_others: the same, minus the median of the other
images. The rest: log(R/G), log(B/G) and log luma of crop and frame, and log Deep SAD distance, each minus the others' median."""


def describe(crop: Pixels, frame: Pixels) -> tuple[float, ...]:
    """18 numbers: quartiles of log(R/G), log(B/G) and log luma, of the crop and then of the whole frame, both (64, 64, 3) of bytes.

    Logarithms turn a filter's gain on a channel into a shift that does not depend on the tissue.
    """
    return tuple(float(value) for region in (crop, frame) for value in _quartiles(region))


def _quartiles(region: Pixels) -> Floats:
    pixels = region.reshape(-1, 3)
    r, g, b = pixels.T
    coloured = (np.maximum(np.maximum(r, g), b) >= DARK) & (np.minimum(np.minimum(r, g), b) < GLARE)
    kept = pixels[coloured] if coloured.mean() >= 0.05 else pixels
    x = (kept.astype(np.float64) + 3.0) / 258.0
    red, green, blue = np.log(x).T
    planes = np.stack([red - green, blue - green, np.log(x @ LUMA)])
    quantiles: Floats = np.quantile(planes, QUANTILES, axis=1).T.reshape(-1)
    return quantiles


@dataclass(frozen=True, slots=True)
class Weights:
    """An intercept and one weight for each of FEATURES, for log odds of green filter and of iodine against regular."""

    green: tuple[float, ...]
    iodine: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        return {"green": list(self.green), "iodine": list(self.iodine)}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Weights:
        return Weights(tuple(values["green"]), tuple(values["iodine"]))


@dataclass(frozen=True, slots=True)
class Context:
    """What a bundle has learned of comparing. `weights` holds for a device that has none of its own; None: switched off."""

    weights: Weights | None
    devices: dict[str, Weights | None]

    def of(self, device: str) -> Weights | None:
        return self.devices.get(device, self.weights)

    def as_json(self) -> dict[str, Any]:
        devices = {name: _weights_json(weights) for name, weights in sorted(self.devices.items())}
        return {"features": list(FEATURES), "weights": _weights_json(self.weights), "devices": devices}

    @staticmethod
    def from_json(values: dict[str, Any] | None) -> Context:
        """Of bundle.json's `context`; a bundle without one, or with one of other features, does not compare."""
        if not values or values.get("features") != list(FEATURES):
            return Context(None, {})
        devices = {name: _weights(one) for name, one in values["devices"].items()}
        return Context(_weights(values["weights"]), devices)


def _weights_json(weights: Weights | None) -> dict[str, Any] | None:
    return None if weights is None else weights.as_json()


def _weights(values: dict[str, Any] | None) -> Weights | None:
    return None if values is None else Weights.from_json(values)


def signals(one: Evidence) -> Floats:
    """(8,): log odds of green and of iodine against regular, three colours of the crop, two of the frame, log Deep SAD distance."""
    regular = 1.0 - one.p_non_regular
    green, iodine = one.probabilities[Kind.GREEN_FILTER], one.probabilities[Kind.LUGOL_IODINE]
    share = green / (green + iodine) if green + iodine > 0 else 0.5
    odds = [_log_odds(one.p_non_regular * part, regular) for part in (share, 1.0 - share)]
    return np.array([*odds, *_colours(one.colour), math.log(one.deep_sad_distance + 1e-6)])


def looks_regular(own: Floats) -> bool:
    """Whether an image with these signals is more likely regular than not, by itself."""
    return bool(np.exp(own[:2]).sum() < 1.0)


def _log_odds(part: float, regular: float) -> float:
    return min(max(math.log((part + 1e-12) / (regular + 1e-12)), -LIMIT), LIMIT)


def _colours(colour: tuple[float, ...]) -> list[float]:
    """Mean of the three quartiles each; of analyses that have no colours yet, nothing that could differ."""
    if len(colour) != 6 * len(QUANTILES):
        return [math.nan] * 5
    means = np.array(colour).reshape(6, len(QUANTILES)).mean(axis=1)
    return [float(value) for value in means[:5]]


def compared(own: Floats, others: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Features (8,) for green and for iodine, of an image's signals against those of the others, of which there is one at least.

    Medians, so that one odd image moves little and their order nothing.
    """
    difference = own - _median(np.stack(others))
    # What the image or all the others do not know makes no difference
    shift = np.nan_to_num(difference)[2:]
    return np.array([own[0], difference[0], *shift]), np.array([own[1], difference[1], *shift])


def _median(others: Floats) -> Floats:
    """Of each column over the rows that know it; NaN where none does."""
    known = ~np.isnan(others)
    if known.all():
        return np.asarray(np.median(others, axis=0))
    return np.array([np.median(column[here]) if here.any() else math.nan for column, here in zip(others.T, known.T, strict=True)])


def probabilities(weights: Weights, own: Floats, others: Sequence[Floats]) -> dict[str, float]:
    """Calibrated probabilities over CLASSIFIED_KINDS of an image among others: softmax over (0, green, iodine)."""
    green, iodine = compared(own, others)
    odds = [0.0, _sum(weights.green, green), _sum(weights.iodine, iodine)]
    top = max(odds)
    parts = [math.exp(value - top) for value in odds]
    return {kind.value: part / sum(parts) for kind, part in zip((Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE), parts, strict=True)}


def _sum(weights: tuple[float, ...], features: Floats) -> float:
    return weights[0] + float(np.dot(np.array(weights[1:]), features))
