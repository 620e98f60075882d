"""The commands of `python -m training` and what each of them takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.config import Preset
from training.runs import FROM_SHELL
from training.settings import add_flags


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m training", description="Make a snapshot, train a bundle on it, evaluate a bundle.")
    tasks = made.add_subparsers(dest="task", required=True)
    _snapshot_options(tasks.add_parser("snapshot", help="freeze the development data and drawn examples as a snapshot folder"))
    _train_options(tasks.add_parser("train", help="train a complete bundle on a snapshot folder; continues from what it finds in --out"))
    _folds_options(
        tasks.add_parser("folds", help="train a bundle for each fold of the patients, and report what each says of those it never saw")
    )
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
        "--left-out", action="append", default=[], metavar="SITE=REPORT.json", help="of a sibling trained without this source"
    )
    for name, made_by in (("test", "evaluate --json"), ("examples", "evaluate --json"), ("folds", "folds")):
        options.add_argument(f"--{name}", type=Path, help=f"report of `{made_by}`")
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
    options.add_argument("--report", default="validation", metavar="SPLIT", help="write a report of this split at the end; '' for none")
    _settings_options(options)


def _settings_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("--config", type=Path, metavar="FILE.toml", help="settings; a run's own config.toml repeats it")
    options.add_argument(
        "--method", action="append", default=[], metavar="NAME[:PRESET]", help="use this method for its part, e.g. deep_svdd:paper"
    )
    add_flags(options, FROM_SHELL, Preset())


def _folds_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("snapshot", type=Path)
    options.add_argument("out", type=Path, help="a run's folder for each fold, and report.json and report.html over all of them")
    options.add_argument("--count", type=int, default=5, metavar="N", help="how many folds")
    options.add_argument("--only", type=int, default=0, metavar="K", help="train this fold alone (from 1); the report comes with the last")
    options.add_argument("--sites", default="", help="divide and test the patients of these alone, separated by commas")
    options.add_argument("--alone", action="store_true", help="judge each image alone, not beside the others of its exam")
    _settings_options(options)


def _reproduce_options(options: argparse.ArgumentParser) -> None:
    options.add_argument("manifest", type=Path, help="manifest.csv of a snapshot or of the development data")
    for role in ("train", "val", "test"):
        options.add_argument(f"--{role}", required=True, metavar="SITES", help="separated by commas; a site in several is split by patient")
    options.add_argument("--out", type=Path, required=True, help="report.html, tables/*.csv, log and checkpoints; continues what it finds")
    options.add_argument("--quick", action="store_true", help="fewer images, smaller networks, fewer epochs: minutes on a CPU")
    options.add_argument(
        "--methods",
        default="",
        metavar="NAMES",
        help="only these, separated by commas; NAME:PRESET for one preset alone, timm:NAME for any backbone",
    )
    options.add_argument("--presets", default="paper,default", metavar="NAMES", help="of paper, default, small")
    options.add_argument(
        "--weights", action="append", default=[], metavar="BACKBONE=FILE", help="start a backbone from a file, or from timm's hub (=hub); "
        "once for each backbone, the others start from random weights",
    )  # fmt: skip
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
