"""Whose checkpoints lie in a run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from training import files, parallel
from training.config import Preset, trains
from training.manifest import Snapshot
from training.methods import begin_anew
from training.types import TrainConfig, TrainingRefused


def claim(out: Path, config: TrainConfig, data: Snapshot, preset: Preset) -> None:
    """Mark `out` as this run's, or refuse when it holds another run's checkpoints."""
    mine = json.loads(json.dumps({**asdict(config), "snapshot": data.hash, "recipes": trains(asdict(preset)), "anew": begin_anew(config)}))
    # Threads and the device change the speed and the last digits, not what is trained; what methods changed stands in the recipes
    for name in ("threads", "device", "name", "methods"):
        mine.pop(name)
    # Runs of before there was a choice of these have checkpoints too
    if config.weights_from is None:
        mine.pop("weights_from")
    if config.fresh or not (config.start or config.weights_from) or not mine["anew"]:
        mine.pop("anew")
    mark = out / "run.json"
    out.mkdir(parents=True, exist_ok=True)
    theirs = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else mine
    if {**theirs, "recipes": trains(theirs["recipes"])} != mine:
        raise TrainingRefused(f"{out.name} holds the checkpoints of another run (other data or settings). Choose an empty folder.")
    if parallel.leads():
        files.write_text(mark, json.dumps(mine, indent=1))
    parallel.barrier()
