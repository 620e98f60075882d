"""The only door to `inference` and `training`. Knows no Django; loads torch only inside the functions that need it.

Only paths and frozen dataclasses cross: no ORM object, no tensor, no settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from inference.earned import Earned, earned, least_positives
from inference.types import (
    CLASSIFIED_KINDS,
    NON_REGULAR_KINDS,
    UNCALIBRATED,
    Analysis,
    Assessed,
    Box,
    BundleInfo,
    DetectorState,
    Evidence,
    Kind,
    Progress,
    Route,
    Unreadable,
)
from training.config import PARTS, TIMM
from training.types import (
    Bin,
    Calibration,
    Cancelled,
    Compared,
    Cost,
    EvaluationReport,
    ExampleImage,
    Interval,
    OperatingPoint,
    ReviewPoint,
    TrainConfig,
    TrainingRefused,
)

__all__ = [
    "CLASSIFIED_KINDS", "NON_REGULAR_KINDS", "PARTS", "TIMM", "UNCALIBRATED", "Analysis", "Assessed", "Bin", "Box", "BundleInfo",
    "Calibration", "Cancelled", "Compared", "Cost", "DetectorState", "Earned", "EvaluationReport", "Evidence", "ExampleImage", "Interval",
    "Kind", "OperatingPoint", "Progress", "ReviewPoint", "Route", "TrainConfig", "TrainingRefused", "Unreadable", "analyse", "assess",
    "begin_anew", "calibrated_devices", "compares", "describe_bundle", "differences", "draw_examples", "earned", "evaluate", "find_text",
    "least_positives", "method_title", "methods_of", "model_card", "refuse_backbone", "train",
]  # fmt: skip


def describe_bundle(path: Path) -> BundleInfo:
    """Read and verify a bundle's manifest and the sha256 of every file in it. Raises `inference.bundle.BundleError`."""
    from inference import bundle

    return bundle.describe(path)


def model_card(bundle: Path) -> str:
    """The text of a bundle's model card; empty where it has none. No hash covers it."""
    from inference import bundle as bundles

    return bundles.card_of(bundle)


def analyse(paths: Sequence[Path], bundle: Path, *, device: str = "cpu", threads: int | None = None) -> list[Analysis | Unreadable]:
    """Analyse clean pictures with one bundle, in order; one unreadable file never stops the others.

    The opened bundle is kept for the life of the process, keyed by path and hash. `threads`: of torch, for this thread's calls.
    """
    from inference import api

    return api.analyse(paths, bundle, device=device, threads=threads)


def find_text(paths: Sequence[Path], *, device: str = "cpu", threads: int | None = None) -> list[list[tuple[float, ...]] | None]:
    """Where something is written in each clean picture: boxes (x0, y0, x1, y1) in its pixels; None where it cannot be read."""
    from inference import text

    return text.find_all(paths, device=device, threads=threads)


def assess(bundle: Path, exam: Sequence[Evidence], *, known_devices_only: bool = False) -> list[Assessed]:
    """Each image of one exam beside the others of the same device, in order. Loads no torch.

    An image without such others is what its Analysis says. Raises `inference.bundle.BundleError`.
    """
    from inference import assessment

    return assessment.opened(bundle).assess(exam, known_devices_only=known_devices_only)


def calibrated_devices(bundle: Path) -> list[str]:
    """The devices on which a bundle was calibrated, by name. Loads no torch; raises `inference.bundle.BundleError`."""
    from inference import assessment

    return sorted(assessment.opened(bundle).devices)


def compares(bundle: Path, device: str) -> bool:
    """Whether this bundle has learned to compare an exam's images of this device. Loads no torch; raises `inference.bundle.BundleError`."""
    from inference import assessment

    return assessment.opened(bundle).context.of(device) is not None


def train(
    config: TrainConfig,
    snapshot: Path,
    out: Path,
    *,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Path:
    """Train a complete bundle on a snapshot folder and return its folder inside `out`.

    `report` is called as work goes on; `cancelled` is asked often and ends the run with `training.types.Cancelled`.
    A run resumes from the checkpoints it finds in `out`.
    """
    from training import api

    return api.train(config, snapshot, out, report=report, cancelled=cancelled)


def methods_of(part: str) -> list[tuple[str, str]]:
    """Name and title of every method that a part of a bundle can be trained by. Loads no torch."""
    from training import methods

    return [(one.name, one.title) for one in methods.ALL if one.part == part]


def method_title(named: str) -> tuple[str, str]:
    """The part of a method given as `NAME` or `NAME:PRESET`, and the method in words. Loads no torch; raises TrainingRefused."""
    from training import methods

    return methods.part_of(named), methods.title_of(named)


def refuse_backbone(name: str) -> None:
    """Raise TrainingRefused, with the names nearest to it, for what is no network of timm. Loads neither torch nor timm."""
    from training import backbones

    backbones.refuse_unknown(name)


def begin_anew(config: TrainConfig) -> tuple[str, ...]:
    """The trained parts that begin with the network that preset or method name, not with start weights. Loads no torch; TrainingRefused."""
    from training import methods

    return methods.begin_anew(config)


def evaluate(
    bundle: Path, snapshot: Path, *, split: str = "test", device: str = "cpu", threads: int | None = None, known_devices_only: bool = False,
) -> EvaluationReport:  # fmt: skip
    """Evaluate a bundle on one split of a snapshot folder, as the portal judges: each image beside the others of its exam that are there,
    and with `known_devices_only` what comes from a device without calibration as read.

    `device` and `threads` as the portal analyses, since the report tells what an image took; None leaves torch's threads as they are.
    """
    from training import api

    return api.evaluate(bundle, snapshot, split=split, device=device, threads=threads, known_devices_only=known_devices_only)


def differences(one: EvaluationReport, other: EvaluationReport) -> list[Compared]:
    """`other` minus `one`, figure by figure, with intervals by patient. Loads no torch.

    Raises TrainingRefused where the reports are not of the same pictures, or do not tell of each.
    """
    from training import comparison

    return comparison.compare(one, other)


def draw_examples(out: Path, *, seed: int = 7, patients: int = 40) -> list[ExampleImage]:
    """Draw the example set (synthetic pictures of three sites) into `out`; says the truth of each. numpy and Pillow only."""
    from training import synthetic

    return synthetic.draw_examples(out, seed=seed, patients=patients)
