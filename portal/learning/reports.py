"""An EvaluationReport to JSON and back. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from portal.ml import Bin, Calibration, Cost, EvaluationReport, Interval, OperatingPoint, ReviewPoint
from portal.registry.plain import finite


def to_json(report: EvaluationReport) -> dict[str, Any]:
    """The report as JSON that Postgres takes: what is not a number becomes null."""
    plain: dict[str, Any] = finite(asdict(report))
    return plain


def from_json(data: Mapping[str, Any]) -> EvaluationReport:
    """The report that `to_json` wrote, also before the figures from `held_out` on were measured, or shares resampled by patient."""
    return EvaluationReport(
        bundle_hash=data["bundle_hash"],
        snapshot_hash=data["snapshot_hash"],
        split=data["split"],
        images_total=data["images_total"],
        patients_total=data["patients_total"],
        kinds=tuple(data["kinds"]),
        figures=intervals(data["figures"]),
        auroc=_interval(data["auroc"]),
        confusion=tuple(tuple(row) for row in data["confusion"]),
        per_site={site: intervals(figures) for site, figures in data["per_site"].items()},
        per_kind=intervals(data["per_kind"]),
        faint_green=_interval(data["faint_green"]),
        roc=tuple((f, t, math.inf if at is None else at) for f, t, at in data["roc"]),
        box_plot=tuple(data["box_plot"]),
        review_rate=_sure(data["review_rate"]),
        missed_unseen=_sure(data["missed_unseen"]),
        detector=intervals(data["detector"]),
        images=tuple(data["images"]),
        held_out=tuple(data.get("held_out", ())),
        left_out=dict(data.get("left_out", {})),
        composition=tuple(data.get("composition", ())),
        per_site_kind={site: intervals(kinds) for site, kinds in data.get("per_site_kind", {}).items()},
        site_auroc=intervals(data.get("site_auroc", {})),
        faint_green_by_site=intervals(data.get("faint_green_by_site", {})),
        operating_points=tuple(_operating_point(one) for one in data.get("operating_points", ())),
        precision_recall=tuple((r, p, math.nan if at is None else at) for r, p, at in data.get("precision_recall", ())),
        average_precision=_interval(data.get("average_precision")),
        calibration=tuple(_calibration(one) for one in data.get("calibration", ())),
        review_points=tuple(_review_point(one) for one in data.get("review_points", ())),
        repeatability=intervals(data.get("repeatability", {})),
        cost=Cost(**data["cost"]) if data.get("cost") else None,
        known_devices_only=bool(data.get("known_devices_only", False)),
    )


def _operating_point(data: Mapping[str, Any]) -> OperatingPoint:
    """A threshold that is not there was none at all: everything was above it."""
    at = -math.inf if data["threshold"] is None else float(data["threshold"])
    reached, sensitivity, kinds = _sure(data["reached"]), _sure(data["sensitivity"]), intervals(data["per_kind"])
    return OperatingPoint(data["site"], float(data["specificity"]), at, reached, sensitivity, kinds)


def _review_point(data: Mapping[str, Any]) -> ReviewPoint:
    return ReviewPoint(float(data["missed"]), float(data["threshold"]), _sure(data["seen"]), _sure(data["review"]))


def _calibration(data: Mapping[str, Any]) -> Calibration:
    return Calibration(**{**data, "bins": tuple(Bin(**one) for one in data["bins"])})


def intervals(data: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: _sure(value) for name, value in data.items()}


def _interval(data: Mapping[str, Any] | None) -> Interval | None:
    return None if data is None else _sure(data)


def _sure(data: Mapping[str, Any]) -> Interval:
    value, low, high = (math.nan if data[name] is None else float(data[name]) for name in ("value", "low", "high"))
    counted = int(data["hits"]), int(data["total"]), int(data["patients"])
    return Interval(value, low, high, *counted, data.get("patient_low"), data.get("patient_high"))
