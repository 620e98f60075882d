"""A run's folder, for whoever comes after: config.toml and config.json, log.jsonl, the checkpoints, the bundle, the report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from inference.types import Progress
from training import named, parallel
from training.config import PARTS, Preset
from training.methods import recipes_of
from training.settings import changed, read, refuse_unknown, settings_of, to_toml
from training.types import EvaluationReport, Interval, TrainConfig

WHICH = (
    "95 % intervals: of shares Wilson's over images, then by patient (whole patients drawn) unless all are alike; of AUROC, F1, average "
    "precision (ap) and iou by patient alone"
)
FROM_SHELL = TrainConfig(preset="default", parts=PARTS)


def chosen(file: Path | None, flags: Mapping[str, object], methods: tuple[str, ...] = ()) -> tuple[TrainConfig, Preset]:
    """What a run shall do: preset, then methods by name, then the TOML file, then the flags, each over what came before.

    `methods` come after those of the file. Raises TrainingRefused for what is unknown or does not fit, BundleError for a broken bundle to
    start from.
    """
    given = {**(read(file) if file else {}), **flags}
    refuse_unknown(given, [one.key for part in (FROM_SHELL, Preset()) for one in settings_of(part)])
    config = changed(FROM_SHELL, given)
    config = replace(config, methods=(*config.methods, *methods))
    preset = recipes_of(config)
    recipes = changed(preset, given)
    return replace(config, anew=named.anew(config, flags, preset, recipes)), recipes


def write_config(folder: Path, config: TrainConfig, recipes: Preset) -> None:
    """config.toml, which repeats the run as a --config file, and config.json, for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(to_toml(config, recipes), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({**asdict(config), **asdict(recipes)}, indent=1), encoding="utf-8")


class RunLog:
    """Writes progress as JSON lines and prints it: one line for each epoch or stage, with the time left."""

    def __init__(self, folder: Path, begin: Callable[[], None]) -> None:
        """`begin` is called at the first progress: by then the folder is known to be this run's."""
        self.file, self.began, self.last, self.begin = folder / "log.jsonl", time.monotonic(), "", begin

    def start(self) -> None:
        """Note that the run began, or went on."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.begin()
        self.write(event="continued" if self.file.exists() else "started", processes=parallel.size())

    def __call__(self, progress: Progress) -> None:
        if not parallel.leads():
            return
        if not self.last:
            self.start()
        said = f"{progress.stage}: {progress.message}"
        if said == self.last and "waiting" not in progress.figures:
            return
        self.last = said
        self.write(**{**asdict(progress), "figures": dict(progress.figures)})
        print(line(progress), flush=True)  # noqa: T201 - this is what the shell shows

    def write(self, **values: object) -> None:
        """Append one line, with the time of day and the seconds since this process began."""
        whole = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "seconds": round(time.monotonic() - self.began, 1), **values}
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(whole) + "\n")


def line(progress: Progress) -> str:
    """One line of progress for people."""
    figures = [f"{name} {value:.4f}" for name, value in progress.figures.items() if name != "waiting"]
    if "waiting" in progress.figures:
        figures.append(f"{progress.figures['waiting']:.0%} of the time waiting for data")
    if progress.seconds_left is not None:
        figures.append(f"{progress.seconds_left / 60:.1f} min left")
    return f"{progress.fraction:5.1%} {progress.stage}: " + ", ".join([progress.message, *figures])


def as_text(report: EvaluationReport) -> str:
    """The report's figures as lines of a table."""
    lines = [f"{report.images_total} images, {report.patients_total} patients, split {report.split}", WHICH]
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
    """`0.886 (0.790-0.940; by patient 0.770-0.950; 62/70, 41 patients)`."""
    drawn = "" if interval.patient_low is None else f"; by patient {interval.patient_low:.3f}-{interval.patient_high:.3f}"
    counted = f"{interval.hits}/{interval.total}, {interval.patients} patients"
    return f"{interval.value:.3f} ({interval.low:.3f}-{interval.high:.3f}{drawn}; {counted})"
