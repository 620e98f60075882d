"""An EvaluationReport to JSON and back. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from portal.ml import EvaluationReport, Interval
from portal.registry.plain import finite


def to_json(report: EvaluationReport) -> dict[str, Any]:
    """The report as JSON that Postgres takes: what is not a number becomes null."""
    plain: dict[str, Any] = finite(asdict(report))
    return plain


def from_json(data: Mapping[str, Any]) -> EvaluationReport:
    """The report that `to_json` wrote."""
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
    )


def intervals(data: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: _sure(value) for name, value in data.items()}


def _interval(data: Mapping[str, Any] | None) -> Interval | None:
    return None if data is None else _sure(data)


def _sure(data: Mapping[str, Any]) -> Interval:
    value, low, high = (math.nan if data[name] is None else float(data[name]) for name in ("value", "low", "high"))
    return Interval(value, low, high, int(data["hits"]), int(data["total"]), int(data["patients"]))
