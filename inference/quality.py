"""Measured, not judged: sharpness, glare and exposure of the cervix crop."""

from __future__ import annotations

import numpy as np

from inference.preprocess import Pixels

SIDE = 256
"""Crops are measured at one size, as the variance of the Laplacian depends on it."""
SATURATED = 250


def measure(crop: Pixels) -> dict[str, float]:
    """Quality of a crop (256, 256, 3) of bytes.

    `sharpness`: variance of the Laplacian of luma in [0, 255] (Pech-Pacheco et al. 2000); `glare`: share of pixels with all channels
    at 250 or above; `exposure`: mean luma in [0, 1].
    """
    luma = crop.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    return {
        "sharpness": float(laplacian.var()),
        "glare": float((crop.min(axis=2) >= SATURATED).mean()),
        "exposure": float(luma.mean() / 255.0),
    }
