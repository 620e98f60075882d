"""`python -m training snapshot|train|evaluate`: what the portal does through `portal.ml`, from the shell."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from inference.bundle import CARD, MANIFEST, BundleError
from inference.types import Progress
from training.types import Cancelled, EvaluationReport, Interval, TrainConfig, TrainingRefused


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m training", description="Make a snapshot, train a bundle on it, evaluate a bundle.")
    tasks = made.add_subparsers(dest="task", required=True)
    _snapshot_options(tasks.add_parser("snapshot", help="freeze the development data and drawn examples as a snapshot folder"))
    _train_options(tasks.add_parser("train", help="train a complete bundle on a snapshot folder; continues from what it finds in --out"))
    _evaluate_options(tasks.add_parser("evaluate", help="report of a bundle on one split of a snapshot"))
    _refit_options(tasks.add_parser("refit", help="fit fusion, calibration, novelty and context anew on a bundle's networks"))
    _quality_options(tasks.add_parser("quality", help="fit a bundle's quality part anew, as a new bundle; or measure the one it has"))
    _card_options(tasks.add_parser("card", help="write MODEL_CARD.md of a bundle from reports"))
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


def _card_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    for name in ("loso", "test", "examples"):
        options.add_argument(f"--{name}", type=Path, help="report of `evaluate --json`")
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
    options.add_argument("out", type=Path)
    options.add_argument("--preset", default="default")
    options.add_argument("--parts", default="detector,resnest,deep_sad")
    options.add_argument("--start", type=Path, help="bundle whose weights start the run and whose other parts are kept")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--device", default="cpu")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--name", default="run")
    options.add_argument("--fresh", action="store_true", help="train the parts from random weights, though --start is given")


def _evaluate_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("bundle", type=Path)
    options.add_argument("snapshot", type=Path)
    options.add_argument("--split", default="test")
    options.add_argument("--sites", default="", help="only these, separated by commas")
    options.add_argument("--device", default="cpu")
    options.add_argument("--json", type=Path, help="write the whole report here")
    options.add_argument("--out", type=Path, help="write report.json and report.html into this folder")
    options.add_argument("--pictures", action="store_true", help="put pictures of patients into report.html")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 done, 1 refused or cancelled."""
    given = parser().parse_args(arguments)
    try:
        tasks = {
            "snapshot": snapshot, "train": train, "evaluate": evaluate, "refit": refit, "quality": quality, "card": card,
            "weights": weights,
        }  # fmt: skip
        tasks[given.task](given)
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
    from training import api

    config = TrainConfig(
        preset=given.preset, seed=given.seed, device=given.device, threads=given.threads, start=str(given.start) if given.start else None,
        parts=tuple(given.parts.split(",")), name=given.name, fresh=given.fresh,
    )  # fmt: skip
    print(api.train(config, given.snapshot, given.out, report=ProgressPrinter(), cancelled=lambda: False))


class ProgressPrinter:
    """Prints a line whenever an epoch is done or a stage begins."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, progress: Progress) -> None:
        said = f"{progress.stage}: {progress.message}"
        if said == self.last and "score" not in progress.figures:
            return
        self.last = said
        left = "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.1f} min left"
        figures = " ".join(f"{name}={value:.4f}" for name, value in progress.figures.items())
        print(f"{progress.fraction:5.1%} {said} {figures}{left}", flush=True)


def evaluate(given: argparse.Namespace) -> None:
    from training.evaluation import evaluate as measure

    sites = tuple(given.sites.split(",")) if given.sites else ()
    report = measure(given.bundle, given.snapshot, split=given.split, device=given.device, sites=sites)
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


def card(given: argparse.Namespace) -> None:
    from training import card as cards

    reports = {name: path for name in ("loso", "test", "examples") if (path := getattr(given, name)) is not None}
    notes = given.notes.read_text(encoding="utf-8") if given.notes else ""
    (given.bundle / CARD).write_text(cards.write(given.bundle, reports, notes=notes), encoding="utf-8")


def as_text(report: EvaluationReport) -> str:
    """The report's figures as lines of a table."""
    lines = [f"{report.images_total} images, {report.patients_total} patients, split {report.split}"]
    named = {**report.figures, **{f"recall {kind}": i for kind, i in report.per_kind.items()}}
    named |= {"review rate": report.review_rate, "missed unseen": report.missed_unseen}
    named |= {f"detector {name}": i for name, i in report.detector.items()}
    if report.auroc:
        named["auroc"] = report.auroc
    if report.faint_green:
        named["faint green found"] = report.faint_green
    lines += [f"{name:28s} {as_words(interval)}" for name, interval in named.items()]
    for site, figures in report.per_site.items():
        lines += [f"{site:20s} {name:12s} {as_words(interval)}" for name, interval in figures.items() if name != "f1"]
    return "\n".join([*lines, f"confusion {report.kinds}: {report.confusion}"])


def as_words(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f}-{interval.high:.3f}; {interval.hits}/{interval.total}, {interval.patients} patients)"


if __name__ == "__main__":
    sys.exit(main())
