"""How unlike the training images one is: distance of its embedding to the nearest of a reduced set of theirs (METHODS 6). numpy only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PART = "novelty"
DIMENSIONS = 32
PROTOTYPES = 500
NEAREST = 5
LOOK_AXES = 6


@dataclass(frozen=True, slots=True)
class Novelty:
    """Embeddings (D,) are centred, turned onto their main axes (D, d), scaled to unit spread and compared with
    `prototypes` (M, d).

    quantiles: distances of images of other patients from the same sources, at equal steps of rank from 0 to 1.
    """

    mean: Floats
    axes: Floats
    prototypes: Floats
    quantiles: tuple[float, ...]

    def distances(self, embeddings: Floats) -> Floats:
        """Mean distance (N,) of embeddings (N, D) to their nearest prototypes."""
        return nearest(self.reduced(embeddings), self.prototypes)

    def reduced(self, embeddings: Floats) -> Floats:
        return (np.asarray(embeddings, dtype=np.float64) - self.mean) @ self.axes

    def look(self, embedding: Sequence[float]) -> int:
        """One of 2 ** LOOK_AXES coarse looks of an embedding (D,): on which side of the mean it lies along each of the foremost axes."""
        sides = self.reduced(np.asarray([embedding]))[0, :LOOK_AXES] > 0
        return int(sides @ (1 << np.arange(len(sides))))

    def rank(self, distance: float) -> float:
        """Share of new images from the known sources that lie nearer, in [0, 1]."""
        return bisect_left(self.quantiles, distance) / len(self.quantiles)

    def tensors(self) -> dict[str, Any]:
        """As stored in the bundle, in half precision."""
        whole = {"mean": self.mean, "axes": self.axes, "prototypes": self.prototypes}
        return {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in whole.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Any], quantiles: tuple[float, ...]) -> Novelty:
        mean, axes, prototypes = (np.asarray(tensors[name], dtype=np.float64) for name in ("mean", "axes", "prototypes"))
        return Novelty(mean, axes, prototypes, quantiles)


def nearest(points: Floats, prototypes: Floats, *, count: int = NEAREST, skip: int = 0) -> Floats:
    """Mean Euclidean distance (N,) to the `count` nearest of `prototypes`, after leaving out the `skip` nearest."""
    found = []
    for first in range(0, len(points), 512):
        some = points[first : first + 512]
        squares = (some**2).sum(1)[:, None] - 2 * some @ prototypes.T + (prototypes**2).sum(1)[None]
        ordered = np.sort(np.sqrt(np.maximum(squares, 0.0)), axis=1)
        found.append(ordered[:, skip : skip + count].mean(axis=1))
    return np.concatenate(found) if found else np.zeros(0)


def load(folder: Path, about: Mapping[str, Any]) -> Novelty | None:
    """The bundle's, None where it keeps none. `folder` must have been verified."""
    if PART not in about or f"{PART}.safetensors" not in about["files"]:
        return None
    from safetensors.numpy import load_file

    return Novelty.from_tensors(load_file(folder / f"{PART}.safetensors"), tuple(about[PART]["quantiles"]))
