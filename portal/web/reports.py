"""An evaluation report, beside the champion's, as rows and drawings for a page. Pure but for the look-up of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portal.learning import gate
from portal.ml import EvaluationReport, Interval
from portal.registry.models import ModelVersion
from portal.web import boxplot, tables

BINARY = ("sensitivity", "specificity", "precision", "f1", "accuracy")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it is shown: never without its interval and what it was counted over."""

    value: str
    interval: str
    images: int
    patients: int


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of this model and of the champion."""

    name: str
    mine: Figure | None
    champion: Figure | None


def shown(figure: Interval | None) -> Figure | None:
    if figure is None:
        return None
    value = f"{figure.value:.3f}" if gate.known(figure) else "–"
    low, high = ("" if math.isnan(bound) else f"{bound:.3f}" for bound in (figure.low, figure.high))
    return Figure(value, f"{low} to {high}" if gate.known(figure) else "", figure.total, figure.patients)


def figures(mine: EvaluationReport, champion: EvaluationReport | None) -> list[Line]:
    return [Line(name, shown(one), shown(other)) for name, one, other in _pairs(mine, champion)]


def _pairs(mine: EvaluationReport, champion: EvaluationReport | None) -> Iterator[tuple[str, Interval | None, Interval | None]]:
    for name in BINARY:
        yield name, mine.figures.get(name), champion.figures.get(name) if champion else None
    yield "AUROC", mine.auroc, champion.auroc if champion else None
    yield "faint green found", mine.faint_green, champion.faint_green if champion else None
    yield "missed unseen", mine.missed_unseen, champion.missed_unseen if champion else None
    yield "sent to review", mine.review_rate, champion.review_rate if champion else None
    for kind, figure in mine.per_kind.items():
        yield f"{kind} named right", figure, champion.per_kind.get(kind) if champion else None
    for name, figure in mine.detector.items():
        yield f"detector: {name}", figure, champion.detector.get(name) if champion else None


def sites(report: EvaluationReport) -> list[tuple[str, list[Figure | None]]]:
    """Rows of the per-site table, in order of BINARY."""
    return [(site, [shown(values.get(name)) for name in BINARY]) for site, values in sorted(report.per_site.items())]


def roc(mine: EvaluationReport, champion: EvaluationReport | None) -> dict[str, Any] | None:
    if not mine.roc:
        return None
    series = [{"name": "this model", "points": _points(mine)}]
    if champion is not None and champion.roc:
        series.append({"name": "champion", "points": _points(champion)})
    return {"type": "roc", "series": series}


def _points(report: EvaluationReport) -> list[list[float | None]]:
    return [[false, true, at if math.isfinite(at) else None] for false, true, at in report.roc]


def misclassified(report: EvaluationReport) -> list[dict[str, Any]]:
    """What was named wrong; first what would have been accepted as regular without anybody seeing it."""
    wrong = [dict(row) for row in report.images if row["kind"] in report.kinds and row["answer"] != row["kind"]]
    return sorted(wrong, key=lambda row: (not unseen(row), str(row["kind"]), str(row["site"])))


def unseen(row: Mapping[str, Any]) -> bool:
    return bool(row["route"] == "auto_regular" and row["kind"] != "regular")


def drawn(mine: EvaluationReport, champion: EvaluationReport | None, version: ModelVersion) -> dict[str, Any]:
    """Everything of the page that comes from the reports alone."""
    return {
        "figures": figures(mine, champion),
        "confusion": tables.confusion(mine.kinds, mine.confusion),
        "champion_confusion": tables.confusion(champion.kinds, champion.confusion) if champion else None,
        "binary": BINARY,
        "sites": sites(mine),
        "roc": roc(mine, champion),
        "plot": boxplot.layout(mine.box_plot, version.thresholds),
    }


def card(metrics: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, str, Figure | None, str]]:
    """The figures that a bundle brings along, whatever their groups: (group, name, figure with interval or None, plain value)."""
    for name, value in metrics.items():
        if isinstance(value, Mapping) and "value" in value and "low" in value:
            yield group, name, _of_card(value), ""
        elif isinstance(value, Mapping):
            yield from card(value, f"{group} / {name}" if group else name)
        elif isinstance(value, int | float | str):
            yield group, name, None, f"{value:.4g}" if isinstance(value, float) else str(value)


def _of_card(value: Mapping[str, Any]) -> Figure:
    told = value["value"] is not None
    interval = f"{value['low']:.3f} to {value['high']:.3f}" if told and value["low"] is not None and value["high"] is not None else ""
    return Figure(f"{value['value']:.3f}" if told else "–", interval, int(value.get("total") or 0), int(value.get("patients") or 0))
