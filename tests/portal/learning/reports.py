"""Evaluation reports by hand."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from portal.ml import Bin, Calibration, Cost, EvaluationReport, Interval, OperatingPoint, ReviewPoint


def figure(
    value: float, *, low: float | None = None, high: float | None = None, total: int = 100, patients: int = 40,
    drawn: tuple[float, float] | tuple[None, None] = (None, None),
) -> Interval:  # fmt: skip
    """`drawn`: its interval by patient."""
    bounds = (max(0.0, value - 0.05) if low is None else low, min(1.0, value + 0.05) if high is None else high)
    return Interval(value, *bounds, round(value * total), total, patients, *drawn)


NOTHING = Interval(float("nan"), 0.0, 1.0, 0, 0, 0)


def report(**changes: Any) -> EvaluationReport:
    names = ("sensitivity", "specificity", "precision", "accuracy", "f1")
    base = EvaluationReport(
        bundle_hash="b" * 64, snapshot_hash="s" * 64, split="test", images_total=200, patients_total=80,
        kinds=("regular", "green_filter", "lugol_iodine"), figures={name: figure(0.9) for name in names}, auroc=figure(0.95),
        confusion=((90, 8, 1, 1), (6, 40, 4, 0), (3, 2, 45, 0)), per_site={"north": {name: figure(0.9, total=50) for name in names}},
        per_kind={"regular": figure(0.9), "green_filter": figure(0.8, total=50), "lugol_iodine": figure(0.9, total=50)},
        faint_green=figure(0.7, total=12, patients=6), roc=((0.0, 0.0, float("inf")), (0.1, 0.9, 0.5), (1.0, 1.0, 0.0)),
        box_plot=(
            {"site": "north", "kind": "regular", "scores": {"low": 0.0, "q1": 0.05, "median": 0.1, "q3": 0.2, "high": 0.4,
             "outliers": [0.9], "count": 100}},
            {"site": "north", "kind": "green_filter", "scores": {"low": 0.5, "q1": 0.8, "median": 0.9, "q3": 0.95, "high": 1.0,
             "outliers": [], "count": 50}},
        ),
        review_rate=figure(0.15), missed_unseen=figure(0.01), detector={"found": figure(0.98), "containment": figure(0.9)},
        images=(
            {"sha256": "1" * 64, "site": "north", "patient": "P1", "kind": "green_filter", "p_non_regular": 0.1, "answer": "regular",
             "route": "auto_regular", "detector_state": "found", "box_iou": 0.8},
        ),
    )  # fmt: skip
    return replace(base, **changes)


def with_figures(base: EvaluationReport, **figures: Interval) -> EvaluationReport:
    return replace(base, figures={**base.figures, **figures})


KINDS, SITES = ("regular", "green_filter", "lugol_iodine"), ("north", "river")


def _images() -> tuple[dict[str, Any], ...]:
    rng = np.random.default_rng(5)
    logits, places = dict(zip(KINDS, (-3, 1, 4), strict=True)), dict(zip(KINDS, (0.3, 0.5, 0.8), strict=True))
    made = []
    for n in range(160):
        kind = KINDS[(0, 0, 1, 2)[n % 4]]
        p = float(1 / (1 + np.exp(-rng.normal(logits[kind], 1.5))))
        answer = "regular" if p <= 0.5 else "green_filter" if kind == "regular" else kind
        route = "auto_regular" if p < 0.1 else "review" if p < 0.9 else "auto_non_regular"
        place = [round(float(v), 4) for v in np.clip(rng.normal(places[kind], 0.1, 2), 0, 1)]
        made.append({
            "sha256": f"{n:064x}", "site": SITES[n // 2 % 2], "patient": f"P{n // 4}", "exam": "1", "kind": kind, "p_non_regular": p,
            "answer": answer, "route": route, "reasons": [], "detector_state": "found", "box_iou": 0.8, "map": place,
        })  # fmt: skip
    return tuple(made)


def _point(site: str, wanted: float, lower: float) -> OperatingPoint:
    kinds = {
        "faint_green": figure(0.4 - lower, total=12, patients=6), "green_filter": figure(0.7 - lower, total=40),
        "lugol_iodine": figure(0.97, total=40),
    }  # fmt: skip
    return OperatingPoint(site, wanted, 0.4, figure(wanted, total=80), figure(0.85 - lower, total=80), kinds)


def _calibration(site: str, error: float) -> Calibration:
    middles = [(n + 0.5) / 15 for n in range(15)]
    bins = tuple(Bin(m, min(1.0, m + 0.03), max(0.0, m - 0.15), min(1.0, m + 0.15), 10) for m in middles)
    return Calibration(site, error, 0.06, 160, 40, 80, bins)


def full(**changes: Any) -> EvaluationReport:
    """A report with everything that is measured: two sites, one of them never seen, many images on the map."""
    told = {
        "images": 492, "patients": 112, "auroc": asdict(figure(0.93, total=492)), "sensitivity at 98% specificity": asdict(figure(0.58)),
        "sensitivity at 98% specificity, green_filter": asdict(figure(0.34)), "roc": [[0.0, 0.0], [0.02, 0.58], [0.3, 0.9], [1.0, 1.0]],
    }  # fmt: skip
    found = {
        "ap50": 0.95,
        "ap50_95": 0.7,
        "iou": 0.82,
        "containment": 0.97,
        "found": 0.98,
        "recall_regular": 0.99,
        "recall_green_filter": 0.9,
    }
    base = report(
        images=_images(), held_out=("river",), left_out={"colposcopy": told},
        operating_points=tuple(_point(site, wanted, lower) for wanted, lower in ((0.98, 0.0), (0.99, 0.08)) for site in ("", *SITES)),
        calibration=tuple(_calibration(site, error) for site, error in (("", 0.04), ("north", 0.05), ("river", 0.12))),
        per_site={site: {name: figure(0.9, total=50) for name in report().figures} for site in SITES},
        site_auroc={site: figure(0.95) for site in SITES}, faint_green_by_site={site: figure(0.5, total=6) for site in SITES},
        per_site_kind={site: {kind: figure(0.9, total=30) for kind in KINDS} for site in SITES},
        precision_recall=((0.2, 1.0, 0.9), (0.7, 0.95, 0.5), (1.0, 0.5, 0.0)), average_precision=figure(0.94),
        review_points=tuple(ReviewPoint(m, 0.2 + m, figure(m, total=80), figure(0.4 - 3 * m, total=160)) for m in (0.0, 0.01, 0.02, 0.05)),
        repeatability={"same_answer": figure(0.97), "difference": figure(0.06)},
        detector={name: figure(value) for name, value in found.items()}, cost=Cost("cpu", 2, 32, 160, 21.5, 40.0, 88.0, 120.0, 812.0),
    )  # fmt: skip
    return replace(base, **changes)
