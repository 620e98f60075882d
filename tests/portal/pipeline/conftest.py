"""A toy analyzer with the real interface, and a silent bell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from portal import ml
from portal.jobs import bell
from portal.ml import Analysis, Box, DetectorState, Kind, Route, Unreadable


def said(p: float = 0.02, *, route: Route = Route.AUTO_REGULAR) -> Analysis:
    kind = Kind.GREEN_FILTER if p > 0.5 else Kind.REGULAR
    return Analysis(
        bundle_hash="0" * 64, width=96, height=72, detector_state=DetectorState.FOUND, box=Box(20, 10, 76, 62, 0.97),
        other_boxes=(Box(0, 0, 5, 5, 0.1),), probabilities={"regular": 1 - p, "green_filter": p, "lugol_iodine": 0.0},
        p_non_regular=p, kind=kind, deep_sad_distance=0.4, deep_sad_rank=0.5, embedding=(0.1, 0.2),
        quality={"sharpness": 120.0}, route=route, reasons=() if route is not Route.REVIEW else ("between_thresholds",),
    )  # fmt: skip


class Toy:
    """Answers by call; `answers` maps a file name to what is said of it."""

    def __init__(self) -> None:
        self.answers: dict[str, Analysis | Unreadable] = {}
        self.batches: list[int] = []
        self.error: Exception | None = None
        self.find_text = ml.find_text

    def analyse(
        self, paths: Sequence[Path], bundle: Path, *, device: str = "cpu", threads: int | None = None
    ) -> list[Analysis | Unreadable]:
        self.batches.append(len(paths))
        if self.error:
            raise self.error
        return [self.answers.get(path.name, said()) for path in paths]

    def find_no_text(
        self, paths: Sequence[Path], *, device: str = "cpu", threads: int | None = None
    ) -> list[list[tuple[float, ...]] | None]:
        return [[] for _ in paths]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Answers in the analyzer's place, and finds nothing written; `toy.find_text` is the real finder."""
    toy = Toy()
    monkeypatch.setattr(ml, "analyse", toy.analyse)
    monkeypatch.setattr(ml, "find_text", toy.find_no_text)
    monkeypatch.setattr(bell, "ring", lambda kind, **_: True)
    return toy


@pytest.fixture(autouse=True)
def _stores_of_their_own(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR = tmp_path / "originals"
    settings.CLEAN_DIR = tmp_path / "clean"
