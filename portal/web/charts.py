"""Data for the charts of a model's page, as static/js/charts.js draws them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from portal.ml import EvaluationReport

Points = Sequence[Sequence[float | None]]


def roc(mine: EvaluationReport, champion: EvaluationReport | None) -> dict[str, Any] | None:
    return _curves("roc", mine.roc, champion.roc if champion else ())


def precision_recall(mine: EvaluationReport, champion: EvaluationReport | None) -> dict[str, Any] | None:
    return _curves("precision_recall", mine.precision_recall, champion.precision_recall if champion else ())


def left_out(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """ROC of siblings, each on the source that it was trained without."""
    series = [{"name": site, "points": [[x, y, None] for x, y in figures["roc"]]} for site, figures in told.items() if figures.get("roc")]
    return {"type": "roc", "series": series} if series else None


def _curves(kind: str, mine: Points, champion: Points) -> dict[str, Any] | None:
    if not mine:
        return None
    series = [{"name": name, "points": _finite(points)} for name, points in (("this model", mine), ("champion", champion)) if points]
    return {"type": kind, "series": series}


def _finite(points: Points) -> list[list[float | None]]:
    return [[x, y, at if at is not None and math.isfinite(at) else None] for x, y, at in points]


def embeddings(report: EvaluationReport, by: str) -> dict[str, Any] | None:
    """Points of t-SNE, a series for each value of `by` (`kind` or `site`)."""
    groups: dict[str, list[Any]] = {}
    for row in report.images:
        if row.get("map"):
            groups.setdefault(str(row[by]), []).append(row["map"])
    return {"type": "scatter", "series": [{"name": name, "points": groups[name]} for name in sorted(groups)]} if groups else None
