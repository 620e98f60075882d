"""What crosses the door for training: frozen, standard library only."""

from __future__ import annotations

from dataclasses import dataclass


class Cancelled(Exception):
    """The run was asked to stop; its checkpoints remain."""


class TrainingRefused(ValueError):
    """The data or the configuration cannot be trained on; the message says why and what to do. Raised before time is spent."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What the portal chooses for a run. Everything else is the recipe of the preset.

    preset: `small` (minutes on CPU), `default`.
    start: bundle folder whose detector is kept (and whose classifier weights start the new ones), or None for random weights.
    parts: which parts are trained anew: of `detector`, `resnest`, `deep_sad`; the rest is copied from `start`. Fusion and calibration are
    always fitted anew.
    """

    preset: str = "small"
    seed: int = 7
    device: str = "cpu"
    threads: int = 2
    start: str | None = None
    parts: tuple[str, ...] = ("resnest", "deep_sad")
    name: str = "run"
    fresh: bool = False
    """Classifiers start from random weights even where `start` is given; only what is not trained is taken from it."""


@dataclass(frozen=True, slots=True)
class ExampleImage:
    """One drawn picture of the example set and the truth about it. `box` is (x0, y0, x1, y1) in pixels, None without a cervix.

    `strength`: 0..1 of the tint, for `green_filter` below 0.35 'faint'.
    """

    path: str
    site: str
    patient: str
    exam: str
    device: str
    kind: str
    strength: float
    box: tuple[float, float, float, float] | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A proportion with its 95 % interval and what it was counted over."""

    value: float
    low: float
    high: float
    hits: int
    total: int
    patients: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One equal-mass bin of a reliability diagram: mean score, share of non-regular images its 95 % Wilson interval, how many images."""

    score: float
    share: float
    low: float
    high: float
    images: int


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """A bundle on one split of one snapshot, as plain data (JSON-serialisable by dataclasses.asdict).

    figures: `sensitivity`, `specificity`, `precision`, `accuracy`, `f1` (f1 by patient bootstrap).
    confusion: rows truth, columns answer, in order of `kinds`.
    per_site: site -> the same figures. per_kind: kind -> recall.
    roc: points (false positive rate, true positive rate, threshold). auroc with bootstrap interval by patient.
    box_plot: list of {site, kind, scores: five-number summary + outliers}, for the score box plot.
    images: per image {sha256, site, patient, kind, p_non_regular, answer, route, detector_state, box_iou}.
    """

    bundle_hash: str
    snapshot_hash: str
    split: str
    images_total: int
    patients_total: int
    kinds: tuple[str, ...]
    figures: dict[str, Interval]
    auroc: Interval | None
    confusion: tuple[tuple[int, ...], ...]
    per_site: dict[str, dict[str, Interval]]
    per_kind: dict[str, Interval]
    faint_green: Interval | None
    roc: tuple[tuple[float, float, float], ...]
    box_plot: tuple[dict[str, object], ...]
    review_rate: Interval
    missed_unseen: Interval
    """Share of non-regular images routed to automatic regular."""
    detector: dict[str, Interval]
    images: tuple[dict[str, object], ...]
