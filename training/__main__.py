"""`python -m training snapshot|train|evaluate|compare|reproduce`: what the portal does through `portal.ml`, from the shell."""

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
from training.runs import FROM_SHELL, RunLog, as_text, as_words, chosen, write_config
from training.settings import add_flags, flags_of
from training.types import Cancelled, TrainingRefused


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m training", description="Make a snapshot, train a bundle on it, evaluate a bundle.")
    tasks = made.add_subparsers(dest="task", required=True)
    _snapshot_options(tasks.add_parser("snapshot", help="freeze the development data and drawn examples as a snapshot folder"))
    _train_options(tasks.add_parser("train", help="train a complete bundle on a snapshot folder; continues from what it finds in --out"))
    _evaluate_options(tasks.add_parser("evaluate", help="report of a bundle on one split of a snapshot"))
    _refit_options(tasks.add_parser("refit", help="fit fusion, calibration, novelty and context anew on a bundle's networks"))
    _quality_options(tasks.add_parser("quality", help="fit a bundle's quality part anew, as a new bundle; or measure the one it has"))
    _compare_options(tasks.add_parser("compare", help="two bundles on one snapshot, side by side, with the interval of the difference"))
    _reproduce_options(tasks.add_parser("reproduce", help="the paper's experiment on any collection: its tables and figures"))
    _ablation_options(tasks.add_parser("ablation", help="what each part of a bundle adds, on one split of a snapshot"))
    _publish_options(tasks.add_parser("publish", help="a bundle anew, with its siblings' figures and a MODEL_CARD.md from reports"))
    tasks.add_parser("weights", help="download ImageNet weights to start from").add_argument("folder", type=Path)
    return made


def _refit_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("snapshot", type=Path, help="its validation and calibration patients are fitted on; no part may have seen them")
    options.add_argument("out", type=Path, help="the new bundle folder")
    options.add_argument("--name", default="", help="of the new bundle (default: as before)")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--device", default="cpu")


def _quality_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("snapshot", type=Path)
    options.add_argument(
        "--out", type=Path, help="the new bundle folder, with a quality part fitted on the snapshot; without it, only measure"
    )
    options.add_argument("--preset", default="default")
    options.add_argument("--split", default="test", help="split to measure on; empty: do not measure")
    options.add_argument("--images", type=int, default=300, help="pictures of a cervix, and drawings without one, to measure on")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--json", type=Path, help="write the figures here")


def _ablation_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("snapshot", type=Path)
    options.add_argument("--split", default="test")
    options.add_argument("--sites", default="", help="only these, separated by commas")
    options.add_argument("--untinted", type=Path, help="a bundle whose classifier was trained without synthetic tints")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", type=Path, help="write the figures here")


def _publish_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("out", type=Path, help="the new bundle folder")
    options.add_argument(
        "--left-out", action="append", default=[], metavar="SITE=REPORT.json", help="of a sibling that never saw this source"
    )
    for name in ("test", "examples"):
        options.add_argument(f"--{name}", type=Path, help="report of `evaluate --json`")
    options.add_argument("--ablation", type=Path, help="of `ablation --json`")
    options.add_argument("--name", default="", help="of the new bundle (default: as before)")
    options.add_argument("--notes", type=Path, help="Markdown for the end of the card")


def _snapshot_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("out", type=Path, help="the new snapshot folder")
    options.add_argument("--name", default="snapshot")
    options.add_argument("--data", type=Path, help="manifest.csv of the development data")
    options.add_argument("--hold-out", default="", metavar="SITE", help="this site becomes the test split, and none of its patients trains")
    options.add_argument("--examples", type=int, default=0, metavar="PATIENTS", help="draw example patients, split by patient")
    options.add_argument("--scenes", type=int, default=0, metavar="N", help="draw single scenes of varied style for the train split")
    options.add_argument("--all-to", default="", metavar="SPLIT", help="put the drawn example patients into one split")
    options.add_argument(
        "--seed", type=int, default=1001, help="of the drawn pictures; 7 is the portal's own example set, never to be trained on"
    )


def _train_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("snapshot", type=Path)
    options.add_argument("out", type=Path, help="the run's folder: configuration, log, checkpoints, bundle, report")
    options.add_argument("--config", type=Path, metavar="FILE.toml", help="settings; a run's own config.toml repeats it")
    options.add_argument(
        "--method", action="append", default=[], metavar="NAME[:PRESET]", help="use this method for its part, e.g. deep_svdd:paper"
    )
    options.add_argument("--report", default="validation", metavar="SPLIT", help="write a report of this split at the end; '' for none")
    add_flags(options, FROM_SHELL, Preset())


def _reproduce_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("manifest", type=Path, help="manifest.csv of a snapshot or of the development data")
    for role in ("train", "val", "test"):
        options.add_argument(f"--{role}", required=True, metavar="SITES", help="separated by commas; a site in several is split by patient")
    options.add_argument("--out", type=Path, required=True, help="report.html, tables/*.csv, log and checkpoints; continues what it finds")
    options.add_argument("--quick", action="store_true", help="fewer images, smaller networks, fewer epochs: minutes on a CPU")
    options.add_argument("--methods", default="", metavar="NAMES", help="only these, separated by commas; timm:NAME for any backbone")
    options.add_argument("--presets", default="paper,default", metavar="NAMES", help="of paper, default, small")
    options.add_argument("--no-pictures", action="store_true", help="a report without pictures of patients, to be passed on")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--device", default="cpu")


def _compare_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("one", type=Path, help="bundle")
    options.add_argument("other", type=Path, help="bundle")
    options.add_argument("snapshot", type=Path)
    options.add_argument("--split", default="validation", help="choose on validation; look at test once")
    options.add_argument("--sites", default="", help="only these, separated by commas")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", type=Path, help="write the figures here")


def _evaluate_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("snapshot", type=Path)
    options.add_argument("--split", default="test")
    options.add_argument("--sites", default="", help="only these, separated by commas")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", type=Path, help="write the whole report here")
    options.add_argument("--out", type=Path, help="write report.json and report.html into this folder")
    options.add_argument("--alone", action="store_true", help="judge each image alone, not beside the others of its exam")
    options.add_argument("--pictures", action="store_true", help="put pictures of patients into report.html")


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
    from training import api, parallel

    config, recipes = chosen(given.config, flags_of(given, FROM_SHELL, Preset()), tuple(given.method))
    config = replace(config, device=parallel.join(config.device))
    try:
        log = RunLog(given.out, lambda: write_config(given.out, config, recipes))
        bundle = api.train(config, given.snapshot, given.out, report=log, cancelled=lambda: False, recipes=recipes)
        if parallel.leads():
            if given.report:
                write_report(bundle, given.snapshot, given.report, config.device, given.out / "report.json")
            log.write(event="done", bundle=bundle.name)
            print(bundle)
    finally:
        parallel.leave()


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
        presets=tuple(given.presets.split(",")),
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
    reports = {name: path for name in ("test", "examples") if (path := getattr(given, name)) is not None}
    notes = given.notes.read_text(encoding="utf-8") if given.notes else ""
    left_out = {site: Path(path) for site, _, path in pairs}
    print(
        publishing.publish(
            given.bundle, given.out, left_out=left_out, reports=reports, ablation=given.ablation, name=given.name, notes=notes
        )
    )


TASKS = {
    "snapshot": snapshot, "train": train, "evaluate": evaluate, "compare": compare, "reproduce": reproduce, "refit": refit,
    "quality": quality, "ablation": ablation, "publish": publish, "weights": weights,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
