"""From a trained bundle to one that is shipped: it takes along what its reports say, and a card that no figure was typed into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference import bundle as bundles
from training import card, report
from training.types import FOLDS, TrainingRefused

Told = Mapping[str, Any]


def publish(
    bundle: Path, out: Path, *, left_out: Mapping[str, Path], reports: Mapping[str, Path], ablation: Path | None = None, name: str = "",
    notes: str = "",
) -> str:  # fmt: skip
    """Write `bundle` anew as `out`, with figures of its siblings and a card. Returns the new bundle's hash.

    left_out: source -> report (`evaluate --json`) of a sibling trained without it. reports: `test` and `examples` of the bundle itself,
    `folds` of its recipe. ablation: JSON of `ablation`. notes: must be there where a sibling kept a part that may have seen the source.
    Raises BundleError for a broken bundle or where `out` exists, TrainingRefused for a report that is of something else.
    """
    loaded = {key: _read(path) for key, path in reports.items()}
    for key, one in loaded.items():
        if (key == "folds") != (one["split"] == FOLDS):
            raise TrainingRefused(f"--{key} got a report of the {one['split']!r} split: --folds takes that of `folds`, and no other does.")
    about, _ = bundles.verify(bundle)
    siblings = {site: _read(path) for site, path in left_out.items()}
    for site, one in siblings.items():
        _refuse_other(site, one)
        if site not in one["held_out"] and not notes:
            raise TrainingRefused(
                f"A part of the sibling without {site} was kept from a bundle that knows {site}, or does not say what it knows. "
                "Say in --notes what that part has seen of it."
            )
    told = {site: report.digest(one, site) for site, one in siblings.items()}
    changes: dict[str, Any] = {"metrics": {**about["metrics"], "leave_one_source_out": told}}
    if ablation is not None:
        changes["metrics"]["ablation"] = json.loads(ablation.read_text(encoding="utf-8"))
    return bundles.amend(
        bundle, out, {**changes, "name": name or about["name"]},
        card=lambda made, digest: card.text(made, digest, siblings, loaded, notes=notes),
    )  # fmt: skip


def _refuse_other(site: str, report: Told) -> None:
    """Raise TrainingRefused for a report that cannot be that of a sibling trained without the site."""
    if site not in report["per_site"]:
        raise TrainingRefused(f"--left-out {site}: the report has no figures of {site}, but of {', '.join(report['per_site'])}.")
    if "held_out" not in report:
        raise TrainingRefused(f"--left-out {site}: the report is of an older version. Make it anew with `evaluate --json`.")
    if any(row["site"] == site and row["split"] != "test" for row in report["composition"]):
        raise TrainingRefused(
            f"--left-out {site}: the report's snapshot has pictures of {site} outside the test split: nothing was left out."
        )


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
