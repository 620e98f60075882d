"""`python -m training reproduce`: read, refuse, train, measure, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from inference import exact
from inference.types import Progress
from training import detector, files, parallel, resnest
from training.config import DetectorRecipe, ResNeStRecipe
from training.methods import METHODS, Recipe, method, parse
from training.reproduction import quick as quick_form
from training.reproduction import report as reports
from training.reproduction.collection import read, thinned
from training.reproduction.experiment import PARTS, Experiment, Run
from training.reproduction.tables import all_tables
from training.start_weights import HUB, existing
from training.types import TrainingRefused

PRESETS = ("paper", "default")
ROUNDS, QUICK_ROUNDS = 2000, 200


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be reproduced. `roles`: train, validation, test -> sites. `methods`: names, each by all `presets`, or NAME:PRESET by
    that one alone. `shrink`: makes a recipe smaller, for the quick form. `weights`: backbone -> file or `hub` that it starts from.
    """

    manifest: Path
    roles: Mapping[str, Sequence[str]]
    out: Path
    methods: tuple[str, ...] = tuple(METHODS)
    presets: tuple[str, ...] = PRESETS
    quick: bool = False
    pictures: bool = True
    seed: int = 7
    device: str = "cpu"
    shrink: Callable[[Recipe], Recipe] = quick_form.shrunk
    weights: Mapping[str, str] = field(default_factory=dict)


def reproduce(order: Order, *, report: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Path:
    """Carry out the order; returns the HTML report in its folder, beside tables/*.csv and run.json.

    A killed run continues from the checkpoints in the folder. Raises TrainingRefused before time is spent, Cancelled when asked to stop.
    """
    exact.on(order.device)
    runs = runs_of(order)
    if not runs:
        raise TrainingRefused("These methods have none of these presets in the quick form: nothing would be trained.")
    collection = read(order.manifest, order.roles)
    if order.quick:
        collection = thinned(collection, quick_form.MOST)
    for run in runs:
        # A file of another backbone is refused here, and not after the detectors
        if isinstance(run.recipe, DetectorRecipe) and run.recipe.weights:
            detector.started(run.recipe, None, None)
        elif isinstance(run.recipe, ResNeStRecipe) and run.recipe.weights:
            resnest.started(run.recipe, None)
    claim(order, runs, collection.hash)
    results = Experiment(collection, runs, order.out, order.seed, order.device, report, cancelled).carry_out()
    if not results.scored:
        raise TrainingRefused("No method gave a result: " + " ".join(f"{name}: {why}" for name, why in results.refused))
    tables = all_tables(collection, results, QUICK_ROUNDS if order.quick else ROUNDS)
    target = order.out / "report.html"
    if parallel.leads():
        reports.write_csv(order.out / "tables", tables)
        said = [quick_form.SAID] if order.quick else []
        said += [f"Not the whole experiment. Not trained here: {missing}."] if (missing := not_run(runs, order)) else []
        said += [begun] if (begun := begun_from(runs)) else []
        files.write_text(target, reports.page(collection, runs, results, tables, said=said, pictures=order.pictures))
    parallel.barrier()
    return target


def runs_of(order: Order) -> list[Run]:
    """Every method by its presets: detectors first, heads after the networks that they stand on."""
    runs: dict[tuple[str, str], Run] = {}
    for named in order.methods:
        name, chosen = parse(named)
        found = method(name)
        for preset in (chosen,) if chosen else order.presets:
            if order.quick and not chosen and (name, preset) in quick_form.SKIPPED:
                continue
            recipe = found.recipe(preset)
            runs[(name, preset)] = Run(found, preset, started(order.shrink(recipe) if order.quick else recipe, order.weights))
    for backbone, weights in order.weights.items():
        if not weights:
            raise TrainingRefused(f"--weights {backbone}= says nothing: name a file, or {HUB} for timm's own.")
        if weights != HUB:
            existing(weights)
    used = {getattr(run.recipe, "backbone", "") for run in runs.values()}
    if unused := [one for one in order.weights if one not in used]:
        raise TrainingRefused(
            f"No method that is asked for has the backbone {', '.join(unused)}; --weights is for {', '.join(sorted(used - {''}))}."
        )
    return sorted(runs.values(), key=lambda run: PARTS.index(run.method.part))


def started(recipe: Recipe, weights: Mapping[str, str]) -> Recipe:
    """The recipe with the start weights that are given for its backbone; a head has none."""
    if isinstance(recipe, DetectorRecipe | ResNeStRecipe) and recipe.backbone in weights:
        return replace(recipe, weights=weights[recipe.backbone])
    return recipe


def begun_from(runs: Sequence[Run]) -> str:
    """What the networks started from, in a sentence for the report."""
    named = {run.recipe.backbone for run in runs if isinstance(run.recipe, DetectorRecipe | ResNeStRecipe) and run.recipe.weights}
    return f"Started from ImageNet weights: {', '.join(sorted(named))}; all others from random ones." if named else ""


def not_run(runs: Sequence[Run], order: Order) -> str:
    """Of the whole experiment, the methods (and presets) that this order leaves out; empty where it is whole."""
    run = {run.key for run in runs}
    whole = [(name, preset) for name in METHODS for preset in PRESETS if not (order.quick and (name, preset) in quick_form.SKIPPED)]
    lacking: dict[str, list[str]] = {}
    for name, preset in whole:
        if (name, preset) not in run:
            lacking.setdefault(name, []).append(preset)
    return ", ".join(f"{name} ({' and '.join(presets)})" for name, presets in lacking.items())


def claim(order: Order, runs: Sequence[Run], digest: str) -> None:
    """Mark the folder as this experiment's, or refuse when it holds another's checkpoints."""
    mine = json.loads(json.dumps({
        "manifest": digest, "roles": {role: list(sites) for role, sites in order.roles.items()}, "seed": order.seed, "quick": order.quick,
        "runs": {run.folder: asdict(run.recipe) for run in runs},
    }))  # fmt: skip
    mark = order.out / "run.json"
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != mine:
        raise TrainingRefused(f"{order.out.name} holds another experiment (other data, sites or settings). Choose an empty folder.")
    if parallel.leads():
        order.out.mkdir(parents=True, exist_ok=True)
        files.write_text(mark, json.dumps(mine, indent=1))
    parallel.barrier()
