"""What crosses the door for training: frozen, standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from training.explained import explained

FOLDS = "folds"
"""The `split` of a report over folds by patient: every image judged by the one of several bundles that never saw its patient."""
KEPT_PART = "kept_part"
"""Of the figures of a sibling trained without a site: true where a part of it may have learned from the site's pictures."""


class Cancelled(Exception):
    """The run was asked to stop; its checkpoints remain."""


class TrainingRefused(ValueError):
    """The data or the configuration cannot be trained on; the message says why and what to do. Raised before time is spent."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What the portal chooses for a run. Everything else is the recipe of the preset. Fusion and calibration are always fitted anew."""

    preset: str = explained("small", "small (minutes on CPU), default or paper")
    seed: int = explained(7, "of all random numbers: the same seed gives the same weights")
    device: str = explained("cpu", "cpu or cuda")
    threads: int = explained(2, "torch threads of this process: cores divided by processes")
    start: str | None = explained(
        None, "bundle folder from which the parts that are not trained are copied, and whose weights and networks start the others"
    )
    parts: tuple[str, ...] = explained(("resnest", "deep_sad"), "what is trained anew: of detector, resnest, deep_sad")
    name: str = explained("run", "name of the bundle")
    fresh: bool = explained(False, "every trained part begins anew, though `start` is given: `anew` for all of them")
    methods: tuple[str, ...] = explained((), "methods by name, each for its part, e.g. deep_svdd:paper; such a part begins anew")
    weights_from: str | None = explained(
        None, "bundle folder whose weights and networks start the trained parts; not set: those of `start`. No other part is copied from it"
    )
    anew: tuple[str, ...] | None = explained(
        None,
        "trained parts that begin anew: with the network that preset, methods and settings name, from random weights or its own `weights`. "
        "Not set: those of methods, and all with preset paper",
    )


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
    """A figure with its 95 % interval and what it was counted over: `hits` of `total` images of `patients`. NaN: cannot be said.

    Of a share `low` and `high` are Wilson's (1927), which take every image as independent, and `patient_low` and `patient_high` those of a
    bootstrap that draws whole patients, as images of one patient are alike; both lie in [0, 1]. The latter are None where that one has no
    width (all patients alike: all are hits, none is, or there is one patient), in reports that were stored before they were computed, and
    of figures that are no share, whose `low` and `high` are themselves resampled by patient.
    """

    value: float
    low: float
    high: float
    hits: int
    total: int
    patients: int
    patient_low: float | None = None
    patient_high: float | None = None

    @property
    def known(self) -> bool:
        """Whether the figure can be said: it was counted over something, and is a number."""
        return self.total > 0 and not math.isnan(self.value)

    @property
    def sure(self) -> bool:
        """Whether an interval can be said."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def least(self) -> float:
        """The lower end of the wider interval: the lower of both bounds."""
        return self.low if self.patient_low is None else min(self.low, self.patient_low)

    @property
    def most(self) -> float:
        """The upper end of the wider interval: the higher of both bounds."""
        return self.high if self.patient_high is None else max(self.high, self.patient_high)


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of two bundles on the same `images` of `patients`; NaN: cannot be said.

    `low`, `high`: 95 % interval of `other` - `one`, by a bootstrap that draws whole patients, the same ones for both.
    """

    name: str
    one: float
    other: float
    difference: float
    low: float
    high: float
    images: int
    patients: int

    @property
    def known(self) -> bool:
        """Whether the difference can be said at all."""
        return not math.isnan(self.difference)

    @property
    def sure(self) -> bool:
        """Whether its interval says anything: one without a width, as of a single patient, does so only of bundles that are alike."""
        return self.known and (self.low < self.high or self.difference == 0)

    @property
    def differs(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.sure and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Bin:
    """One equal-mass bin of a reliability diagram: mean score, share of non-regular images its 95 % Wilson interval, how many images."""

    score: float
    share: float
    low: float
    high: float
    images: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are from what they say: the expected calibration error over 15 equal-mass bins.

    limit: the 95th percentile of the error that perfectly calibrated scores of the same values would show at this number of images, by
    simulation. An error below it is no evidence against the scores. site: empty for all sites together.
    """

    site: str
    error: float
    limit: float
    images: int
    patients: int
    positives: int
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What is found when the threshold is set, on the very images it is measured on, so that `specificity` of the regular ones are spared.

    site: empty for all sites together. reached: the specificity that the threshold gives, at least the one asked for. per_kind: kind ->
    share found, `faint_green` among them where there are any. Intervals of sensitivity by bootstrap over patients, the threshold chosen
    anew each time.
    """

    site: str
    specificity: float
    threshold: float
    reached: Interval
    sensitivity: Interval
    per_kind: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class ReviewPoint:
    """How much people must read when the lower threshold is moved until at most `missed` of the non-regular images pass unseen.

    Everything else of the bundle's routing stays: its upper threshold and its other reasons for review. threshold: the lower one, chosen
    on the images it is measured on; seen: the share that passes unseen at it.
    """

    missed: float
    threshold: float
    seen: Interval
    review: Interval


@dataclass(frozen=True, slots=True)
class Cost:
    """What this evaluation took. Times in milliseconds an image, of the analysis alone, batch by batch; memory in MiB at its peak."""

    device: str
    threads: int
    batch: int
    images: int
    seconds: float
    decode_ms: float
    median_ms: float
    p95_ms: float
    memory_mib: float
    gpu_memory_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """A bundle on one split of one snapshot, as plain data (JSON-serialisable by dataclasses.asdict).

    figures: `sensitivity`, `specificity`, `precision`, `accuracy`, `f1` (f1 by patient bootstrap).
    confusion: rows truth, columns answer, in order of `kinds`; a last column, which old reports lack, for any other answer.
    per_site: site -> the same figures. per_kind: kind -> recall.
    roc: points (false positive rate, true positive rate, threshold). auroc with bootstrap interval by patient.
    box_plot: list of {site, kind, scores: five-number summary + outliers}, for the score box plot.
    images: per image {sha256, site, patient, exam, kind, p_non_regular, answer, route, reasons, detector_state, box_iou,
    deep_sad_distance, green_share, map: [x, y] of t-SNE in [0, 1] or None}.

    From `held_out` on: absent from reports that were written before them.
    held_out: sites that the bundle knows by no name. left_out: what it says of sibling models trained without a site: site -> figures
    (and `roc`, `images`, `patients`), as `training.report.digest` writes them into bundle.json's `metrics.leave_one_source_out`.
    composition: rows {split, site, kind, images, patients} of the whole snapshot (the paper's Tables 1-4).
    per_site_kind: site -> kind -> recall; site_auroc: site -> AUROC. faint_green_by_site: site -> share found.
    repeatability: `same_answer` and `difference` between images of one kind in one exam.
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
    held_out: tuple[str, ...] = ()
    left_out: dict[str, dict[str, object]] = field(default_factory=dict)
    composition: tuple[dict[str, object], ...] = ()
    per_site_kind: dict[str, dict[str, Interval]] = field(default_factory=dict)
    site_auroc: dict[str, Interval] = field(default_factory=dict)
    faint_green_by_site: dict[str, Interval] = field(default_factory=dict)
    operating_points: tuple[OperatingPoint, ...] = ()
    precision_recall: tuple[tuple[float, float, float], ...] = ()
    """Points (recall, precision, threshold)."""
    average_precision: Interval | None = None
    calibration: tuple[Calibration, ...] = ()
    review_points: tuple[ReviewPoint, ...] = ()
    repeatability: dict[str, Interval] = field(default_factory=dict)
    cost: Cost | None = None
    known_devices_only: bool = False
    """Whether everything from a device on which the bundle was not calibrated counts as read."""
