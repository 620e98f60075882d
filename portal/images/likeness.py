"""Whether two pictures are one and the same: written anew, resized, a little cropped. Pure: numpy and Pillow.

A perceptual hash of 64 bits finds candidates by an index; a sketch of 288 bytes then tells the same picture from one that is merely
alike. By the hash alone, photographs through the same round green aperture were 'near' though of different people (docs/LOG.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

BITS = 64
NEAR = 8
"""Bits that two hashes may differ in."""
MIN_CORRELATION = 0.85
"""Of the sketches' brightness, without what the neighbourhood has in common."""
MAX_COLOUR = 6.0
"""Mean difference of the sketches' colours, of 255: the same view through a green filter is another photograph."""
_SIDE, _COLOUR_SIDE = 16, 4
_FINE = 32
_POINTS = np.pi * (2 * np.arange(_FINE) + 1) / (2 * _FINE)
_COSINES = 2 * np.cos(np.arange(8)[:, None] * _POINTS[None, :])


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of a picture to know it again: 64 of '0' and '1', and the sketch (brightness 16 x 16, then Cb and Cr 4 x 4)."""

    phash: str
    sketch: bytes


def look(picture: Image.Image) -> Look:
    """Of an upright RGB picture; a thumbnail says the same as the picture, to a bit or two."""
    return Look(_phash(picture), _sketch(picture))


def _phash(picture: Image.Image) -> str:
    """As `imagehash.phash`: the 8 x 8 lowest frequencies of a cosine transform of 32 x 32 grey pixels, each above their median or not."""
    grey = np.asarray(picture.convert("L").resize((_FINE, _FINE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = _COSINES @ grey @ _COSINES.T
    return "".join("1" if bit else "0" for bit in (low > np.median(low)).ravel())


def _sketch(picture: Image.Image) -> bytes:
    bands = picture.resize((_SIDE, _SIDE), Image.Resampling.BOX).convert("YCbCr").split()
    colours = [band.resize((_COLOUR_SIDE, _COLOUR_SIDE), Image.Resampling.BOX) for band in bands[1:]]
    return b"".join(band.tobytes() for band in (bands[0], *colours))


def distance(first: str, second: str) -> int:
    """Bits that differ."""
    return sum(a != b for a, b in zip(first, second, strict=True))


def same_picture(bits: int, first: bytes, second: bytes) -> bool:
    """Whether two pictures, whose hashes differ in `bits` and whose sketches are these, show one photograph."""
    return bits <= NEAR and correlation(first, second) >= MIN_CORRELATION and colour_difference(first, second) <= MAX_COLOUR


def correlation(first: bytes, second: bytes) -> float:
    """Of the fine brightness of two sketches, -1 to 1; 0 where one is flat."""
    a, b = _fine(first), _fine(second)
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def _fine(sketch: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Each point's brightness less the mean of its block of 4 x 4: what a round aperture or a lamp does to all pictures falls away."""
    grey = np.frombuffer(sketch, np.uint8, _SIDE * _SIDE).astype(np.float64).reshape(_SIDE, _SIDE)
    means = grey.reshape(4, 4, 4, 4).mean((1, 3))
    return grey - np.kron(means, np.ones((4, 4)))


def colour_difference(first: bytes, second: bytes) -> float:
    """Mean absolute difference of the sketches' Cb and Cr, of 255."""
    a, b = (np.frombuffer(sketch, np.uint8, offset=_SIDE * _SIDE).astype(np.float64) for sketch in (first, second))
    return float(np.abs(a - b).mean())
