"""The evaluation report as files, `report.json` and `report.html`, and as the few figures that a bundle takes along."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training import files, report_page
from training.types import KEPT_PART, EvaluationReport

DIGEST_POINTS = 60


def write(report: EvaluationReport, out: Path, *, snapshot: Path | None = None) -> Path:
    """Write report.json and report.html into `out`, which is made; returns the HTML file.

    With a snapshot folder its pictures of the extremes and of what was named wrong are put into the HTML: it then shows patients, and is to
    be kept as their pictures are.
    """
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "report.json", json.dumps(plain(asdict(report)), indent=1, allow_nan=False))
    files.write_text(out / "report.html", report_page.as_html(report, snapshot))
    return out / "report.html"


def plain(value: Any) -> Any:
    """JSON's own words: what is not a finite number becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def digest(report: Mapping[str, Any], site: str) -> dict[str, Any]:
    """The figures of a report, as plain data, that a bundle takes along in `metrics.leave_one_source_out`, under the `site` that its
    sibling was trained without. `kept_part` is there, and true, where a part of the sibling comes from a bundle that knows the site or does
    not say what it knows."""
    named = {**report["figures"], **{f"{kind} named right": one for kind, one in report["per_kind"].items()}}
    for point in report["operating_points"]:
        if not point["site"]:
            at = f"sensitivity at {point['specificity']:.0%} specificity"
            named |= {at: point["sensitivity"], **{f"{at}, {kind}": one for kind, one in point["per_kind"].items()}}
    if report["auroc"]:
        named = {"auroc": report["auroc"], **named}
    if report["faint_green"]:
        named["faint green found"] = report["faint_green"]
    step = max(1, math.ceil(len(report["roc"]) / DIGEST_POINTS))
    curve = [[x, y] for n, (x, y, _) in enumerate(report["roc"]) if n % step == 0 or n == len(report["roc"]) - 1]
    kept = {} if site in report["held_out"] else {KEPT_PART: True}
    made: dict[str, Any] = plain({"images": report["images_total"], "patients": report["patients_total"], **kept, **named, "roc": curve})
    return made
