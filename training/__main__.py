"""`python -m training snapshot|train|evaluate|compare|folds|reproduce`: what the portal does through `portal.ml`, from the shell."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from inference.bundle import MANIFEST, BundleError
from training.config import Preset
from training.options import parser
from training.runs import FROM_SHELL, RunLog, as_text, as_words, chosen, write_config
from training.settings import flags_of
from training.types import Cancelled, TrainConfig, TrainingRefused


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 refused or cancelled."""
    given = parser().parse_args(arguments)
    try:
        TASKS[given.task](given)
    except (TrainingRefused, BundleError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    except (Cancelled, KeyboardInterrupt):
        print("stopped; the same command continues from here", file=sys.stderr)
        return 1
    return 0


def snapshot(given: argparse.Namespace) -> None:
    from training import snapshot as folder
    from training import synthetic
    from training.manifest import read_development_data

    records = read_development_data(given.data, hold_out=given.hold_out) if given.data else []
    with tempfile.TemporaryDirectory(prefix="winnow-drawn-") as drawn:
        if given.examples:
            examples = synthetic.draw_examples(Path(drawn) / "examples", seed=given.seed, patients=given.examples)
            records += folder.from_examples(examples, split=given.all_to)
        if given.scenes:
            records += folder.draw_scenes(Path(drawn) / "scenes", given.scenes, seed=given.seed + 1)
        print(folder.write(given.out, records, name=given.name))


def weights(given: argparse.Namespace) -> None:
    from training import start_weights

    print(start_weights.fetch(given.folder))


def train(given: argparse.Namespace) -> None:
    from training import parallel

    config, recipes = chosen(given.config, flags_of(given, FROM_SHELL, Preset()), tuple(given.method))
    config = replace(config, device=parallel.join(config.device))
    try:
        carry_out(config, recipes, given.snapshot, given.out, split=given.report)
    finally:
        parallel.leave()


def carry_out(config: TrainConfig, recipes: Preset, snapshot: Path, out: Path, *, split: str = "") -> Path:
    """One run: its bundle, and its report of `split` where one is named."""
    from training import api, parallel

    log = RunLog(out, lambda: write_config(out, config, recipes))
    bundle = api.train(config, snapshot, out, report=log, cancelled=lambda: False, recipes=recipes)
    if parallel.leads():
        if split:
            write_report(bundle, snapshot, split, config.device, out / "report.json")
        log.write(event="done", bundle=bundle.name)
        print(bundle)
    return bundle


def folds(given: argparse.Namespace) -> None:
    from training import folds as by_patient
    from training import parallel
    from training import report as files

    config, recipes = chosen(given.config, flags_of(given, FROM_SHELL, Preset()), tuple(given.method))
    config = replace(config, device=parallel.join(config.device))
    order = by_patient.Folds(given.snapshot, given.out, given.count, tuple(name for name in given.sites.split(",") if name))

    def train_one(number: int, snapshot: Path, out: Path) -> None:
        carry_out(replace(config, name=f"{config.name}, fold {number} of {given.count}"), recipes, snapshot, out)

    try:
        by_patient.train_all(order, config, recipes, train_one, only=given.only)
        leads = parallel.leads()
    finally:
        parallel.leave()
    if not leads:
        return
    if missing := by_patient.untrained(order):
        print(f"not trained yet: fold {', '.join(map(str, missing))} of {given.count}")
        return
    reports = by_patient.pooled(order, device=config.device, context=not given.alone)
    for number, report in enumerate(reports.each, start=1):
        files.write(report, order.place(number))
        print(f"fold {number}: AUROC {as_words(report.auroc) if report.auroc else 'cannot be told, as one class is missing'}")
    print(files.write(reports.whole, given.out))
    print(as_text(reports.whole))


def write_report(bundle: Path, snapshot: Path, split: str, device: str, out: Path) -> None:
    from training.evaluation import evaluate as measure

    report = measure(bundle, snapshot, split=split, device=device)
    out.write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
    print(as_text(report))


def reproduce(given: argparse.Namespace) -> None:
    from training import parallel
    from training.methods import METHODS
    from training.reproduction.run import Order
    from training.reproduction.run import reproduce as carry_out

    roles = {"train": given.train.split(","), "validation": given.val.split(","), "test": given.test.split(",")}
    order = Order(
        given.manifest, roles, given.out, quick=given.quick, pictures=not given.no_pictures, seed=given.seed,
        device=parallel.join(given.device), methods=tuple(given.methods.split(",")) if given.methods else tuple(METHODS),
        presets=tuple(given.presets.split(",")), weights=dict(one.partition("=")[::2] for one in given.weights),
    )  # fmt: skip
    try:
        print(carry_out(order, report=RunLog(given.out, lambda: None), cancelled=lambda: False))
    finally:
        parallel.leave()


def compare(given: argparse.Namespace) -> None:
    from training import comparison
    from training.evaluation import evaluate as measure

    sites = tuple(given.sites.split(",")) if given.sites else ()
    one, other = (
        measure(bundle, given.snapshot, split=given.split, device=given.device, sites=sites) for bundle in (given.one, given.other)
    )
    rows = comparison.compare(one, other)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    print(comparison.as_text(one, other, rows))


def evaluate(given: argparse.Namespace) -> None:
    from training.evaluation import evaluate as measure

    sites = tuple(given.sites.split(",")) if given.sites else ()
    report = measure(given.bundle, given.snapshot, split=given.split, device=given.device, sites=sites, context=not given.alone)
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=1), encoding="utf-8")
    if given.out:
        from training import report as files

        files.write(report, given.out, snapshot=given.snapshot if given.pictures else None)
    print(as_text(report))


def refit(given: argparse.Namespace) -> None:
    from training.refit import refit as fit_anew

    folder = fit_anew(given.bundle, given.snapshot, given.out, device=given.device, seed=given.seed, name=given.name)
    print(json.dumps(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["metrics"]["refit"], indent=1))
    print(folder)


def quality(given: argparse.Namespace) -> None:
    import torch

    from training import quality as fitting
    from training import quality_report as measuring
    from training.config import preset_named
    from training.manifest import read_snapshot

    torch.set_num_threads(given.threads)
    data, bundle = read_snapshot(given.snapshot), given.bundle
    if given.out:
        print(fitting.add_to(bundle, data, given.out, preset_named(given.preset).quality, seed=given.seed, device=given.device))
        bundle = given.out
    if given.split:
        rows = measuring.measure(bundle, data, given.split, images=given.images, seed=given.seed + 100, device=given.device)
        if given.json:
            given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
        for row in rows:
            print(f"{row.figure:13s} {row.what:22s} {row.limit:16s} {row.site:18s} {as_words(row.interval)}")


def ablation(given: argparse.Namespace) -> None:
    from training import ablation as parts
    from training.card import ablation as as_table

    sites = tuple(given.sites.split(",")) if given.sites else ()
    rows = [
        asdict(row)
        for row in parts.measure(given.bundle, given.snapshot, split=given.split, sites=sites, device=given.device, untinted=given.untinted)
    ]
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    print(as_table(rows))


def publish(given: argparse.Namespace) -> None:
    from training import publishing

    pairs = [pair.partition("=") for pair in given.left_out]
    if any(not (site and path) for site, _, path in pairs):
        raise TrainingRefused("--left-out takes SITE=REPORT.json.")
    reports = {name: path for name in ("test", "folds", "examples") if (path := getattr(given, name)) is not None}
    notes = given.notes.read_text(encoding="utf-8") if given.notes else ""
    left_out = {site: Path(path) for site, _, path in pairs}
    print(
        publishing.publish(
            given.bundle, given.out, left_out=left_out, reports=reports, ablation=given.ablation, name=given.name, notes=notes
        )
    )


TASKS = {
    "snapshot": snapshot, "train": train, "evaluate": evaluate, "compare": compare, "reproduce": reproduce, "refit": refit,
    "quality": quality, "ablation": ablation, "publish": publish, "weights": weights, "folds": folds,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
