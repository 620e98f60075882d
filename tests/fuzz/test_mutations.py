"""Broken pictures end in an answer; the process that asked lives on as it was. The long form is `make fuzz`."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portal.images import sanitise
from portal.images.sanitise import Cleaned
from tests.conftest import ROOT
from tests.fuzz.mutations import mutants, originals
from tests.fuzz.run import judge


def test_some_hundreds_of_mutants_are_judged_and_leave_nothing(tmp_path: Path) -> None:
    """In a process of its own: the system keeps the size of the largest child that a process ever had."""
    argv = [sys.executable, "-m", "tests.fuzz", "--one", "--count", "320", "--seed", "7", "--real", str(tmp_path / "none")]
    ended = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=True)
    tally = json.loads(ended.stdout.splitlines()[-1].split(": ", 1)[1])
    assert sum(tally["outcomes"].values()) == tally["judged"] == 320
    assert (tally["left_behind"], tally["unreadable"]) == (0, 0)
    assert tally["largest_child_mb"] < 1_200
    assert tally["parent_grew_mb"] < 50
    assert {"clean", "damaged", "not_a_picture"} <= tally["outcomes"].keys(), "the mutations reach too little"


def test_the_same_seed_breaks_the_same_pictures() -> None:
    sources = originals()
    one, other, third = (list(itertools.islice(mutants(sources, seed=seed), 20)) for seed in (1, 1, 2))
    assert one == other
    assert one != third


def test_a_child_that_writes_nonsense_or_files_of_its_own_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    make = sanitise.make

    def careless(path: Path, stem: Path) -> Cleaned:
        made = make(path, stem)
        made.picture.write_bytes(b"\xff\xd8 no picture")
        (stem.parent / f"left-by-{os.getpid()}").write_bytes(b"x")
        return made

    monkeypatch.setattr(sanitise, "make", careless)
    monkeypatch.setattr("tests.fuzz.run._is_picture", lambda made: not made.picture.read_bytes().startswith(b"\xff\xd8 no"))
    tally: Any = judge(originals()[:5], 8, seed=1)
    assert tally.left_behind > 0
    assert tally.unreadable > 0
