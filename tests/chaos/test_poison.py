"""Poison ends in words at its own row; the good pictures beside it and the worker never notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.poison import run
from tests.chaos.poisons import KINDS


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_seven_sorts_of_poison_among_fifty_six_pictures_fail_alone(tmp_path: Path, settings: Any) -> None:
    # in stores of its own: what a storm killed left things in the common ones
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"
    outcome = run(tmp_path, good=49, poisoned=len(KINDS), decoder_seconds=2)
    assert (outcome.done, outcome.failed) == (49, len(KINDS)), outcome
    assert (outcome.workers_lost, outcome.deaths) == (0, 0)
    assert not list((Path(settings.CLEAN_DIR) / ".incoming").glob("*"))
