"""The portal's Celery app with a toy instead of the networks: `celery -A tests.chaos.app`. All else is the real thing.

The toy opens and decodes every picture, so a row without its file is found; what it says depends on the file alone. A picture that ends
in POISON and a word does to the process of its decoder what a fault in one would do.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from portal import ml
from portal.celery import app
from portal.images import sanitise
from portal.images.child import Limits
from portal.ml import Analysis, Box, DetectorState, Kind, Route, Unreadable
from tests.chaos.poisons import POISON, act

__all__ = ["app"]
_SECONDS = float(os.environ.get("CHAOS_BEAT", "1"))
for entry in app.conf.beat_schedule.values():
    entry["schedule"] = min(entry["schedule"], _SECONDS if entry["schedule"] < 60 else 20)


def analyse(paths: Sequence[Path], bundle: Path, *, device: str = "cpu", threads: int | None = None) -> list[Analysis | Unreadable]:
    assert (bundle / "bundle.json").exists(), (device, threads)
    for _ in range(int(10 * float(os.environ.get("CHAOS_SECONDS", "0")))):
        time.sleep(0.1)
    return [_say(path) for path in paths]


def _say(path: Path) -> Analysis:
    with Image.open(path) as picture:
        picture.load()
        width, height = picture.size
    digest = hashlib.sha256(path.name.encode()).digest()
    p = digest[0] / 255
    route = Route.AUTO_REGULAR if p < 0.3 else Route.AUTO_NON_REGULAR if p > 0.7 else Route.REVIEW
    kind = Kind.GREEN_FILTER if p > 0.5 else Kind.REGULAR
    return Analysis(
        bundle_hash="0" * 64, width=width, height=height, detector_state=DetectorState.FOUND, box=Box(1, 1, 9, 9, 0.9), other_boxes=(),
        probabilities={"regular": 1 - p, "green_filter": p, "lugol_iodine": 0.0}, p_non_regular=p, kind=kind, deep_sad_distance=0.1,
        deep_sad_rank=0.5, embedding=(), quality={}, route=route, reasons=(), colour=tuple(byte / 255 for byte in digest[:18]),
    )  # fmt: skip


ml.analyse = analyse


# ---- poison -----------------------------------------------------------------------------------------------------------

_make = sanitise.make


def make(path: Path, stem: Path) -> sanitise.Cleaned:
    _, poison, word = path.read_bytes()[-32:].partition(POISON)
    if poison:
        act(word.decode(), stem)
    return _make(path, stem)


sanitise.make = make
if seconds := float(os.environ.get("CHAOS_DECODER_SECONDS", "0")):
    for asked in (sanitise.clean, sanitise.clean_together):
        assert asked.__kwdefaults__ is not None
        asked.__kwdefaults__["limits"] = Limits(cpu=max(1, int(seconds)), wall=seconds * 2)
