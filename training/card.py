"""The model card of a shipped bundle, written from bundle.json and from reports, so that no figure is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.bundle import read_manifest

Report = Mapping[str, Any]

SOURCES = """\
| site | what it is | licence |
|---|---|---|
| `iarc-colposcopy` | IARC/WHO colposcopy image bank, 800x600; labels from IARC's own table | no open licence |
| `iarc-via` | IARC/WHO VIA image bank, 960x720; cervix masks traced by people | no open licence |
| `mobileodt` | MobileODT EVA (a competition's data), 224x224; labels in part by a colour rule, which measure nothing | no open licence |
| `annocerv` | AnnoCerv, Romania, 384x384, acetic acid only | CC BY 4.0 |
| drawn | this project's own generator (`training/synthetic.py`), of other seeds than the figures below | own work |
"""

NOT_FOR = """\
- **Research use only.** The weights were trained on pictures of which most carry no open licence. No picture is part of the bundle.
- It says how a photograph was taken (white light or acetic acid; green filter; Lugol's iodine). It says **nothing about disease** and
  must not be used for screening, diagnosis, triage of patients or any decision on treatment.
- It does not recognise other pictures: what is not a cervix, is blurred or was taken after treatment gets one of the three kinds all the
  same, mostly with a weak or missing box. Such pictures are to be settled by people.
- A mild green filter looks almost like white light. On a device that it has not seen it **misses a large share of faint green pictures**
  (see the leave-one-source-out figures). Do not rely on automatic answers for a new site or device before they were calibrated on pictures
  that people read there.
- The thresholds are fixed; no site of yours has earned them.
"""

TITLES = {
    "loso": """## Figures: leave one source out

`iarc-colposcopy` never seen: these are a sibling's weights, of the same recipe. No part of it was trained, calibrated or tuned on a picture
of that source, and patients who also stand in `iarc-via` were left out. (The people who designed the synthetic green filter had looked at
pictures of that source.) This is what to expect of a new device.
""",
    "test": """## Figures: shipped weights, patient split

Patients that no part was trained or calibrated on, of the same sources; labels given by people only.
""",
    "examples": """## Figures: shipped weights on the drawn example set

Of seeds that were never trained on. Drawn pictures flatter: they show that the portal's own demonstration works, and no more.
""",
}


def write(bundle: Path, reports: Mapping[str, Path], *, notes: str = "") -> str:
    """The card's text. reports: of `loso`, `test`, `examples` -> the JSON of `evaluate --json`; what is absent is left out."""
    about, digest = read_manifest(bundle)
    loaded = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in reports.items()}
    sections = [head(about, digest), "## Not to be used for\n\n" + NOT_FOR, "## Trained on\n\n" + SOURCES]
    sections += [TITLES[name] + "\n" + table(loaded[name]) for name in TITLES if name in loaded]
    if notes:
        sections.append("## Notes\n\n" + notes)
    return "\n".join(sections)


def head(about: Mapping[str, Any], digest: str) -> str:
    parts = about["parts"]
    return f"""# Model card: {about["name"]}

| | |
|---|---|
| bundle hash | `{digest}` |
| made | {about["created"]}, code version {about["code_version"]}, preset `{about["preset"]}` |
| snapshot | `{about["snapshot_name"]}`, hash `{about["snapshot_hash"]}` |
| detector | RetinaNet, {parts["detector"]["backbone"]}, {parts["detector"]["size"]} px, P4-P7, {parts["detector"]["channels"]} channels |
| classifier | {parts["resnest"]["backbone"]}, {parts["resnest"]["size"]} px crops, three classes; its average pool is the embedding |
| Deep SAD | 32 px, 520,544 parameters, started from an autoencoder |
| fusion | logistic, weights >= 0 on the ResNeSt logit and the log Deep SAD distance |
| thresholds | automatic below {about["fusion"]["t_lo"]} and above {about["fusion"]["t_hi"]}, else review |
| start weights | random: no ImageNet weights could be reached where this was trained |
| licence | {about["licence_note"]} |

Intervals are 95 %: Wilson for shares (images taken as independent, though several come from one patient), bootstrap by patient for
AUROC, F1 and IoU.
"""


def table(report: Report) -> str:
    """One report as a Markdown table, with numbers of images and patients."""
    rows = [("AUROC of non-regular", report["auroc"])] if report["auroc"] else []
    rows += [(name, report["figures"][name]) for name in ("sensitivity", "specificity", "precision", "accuracy", "f1")]
    rows += [(f"`{kind}` answered right", interval) for kind, interval in report["per_kind"].items()]
    if report["faint_green"]:
        rows.append(("faint green told from regular", report["faint_green"]))
    rows += [("sent to review", report["review_rate"]), ("non-regular accepted as regular without review", report["missed_unseen"])]
    rows += [(f"detector: {name.replace('_', ' ')}", interval) for name, interval in report["detector"].items()]
    lines = [
        f"{report['images_total']} images of {report['patients_total']} patients.",
        "",
        "| figure | value (95 % interval) | counted |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {_interval(interval)} | {_counted(name, interval)} |" for name, interval in rows]
    if len(report["per_site"]) > 1:
        lines += ["", "| site | sensitivity | specificity |", "|---|---|---|"]
        lines += [f"| {site} | {_site(f['sensitivity'])} | {_site(f['specificity'])} |" for site, f in report["per_site"].items()]
    return "\n".join(lines) + "\n"


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.3f} ({interval['low']:.3f}-{interval['high']:.3f})"


def _counted(name: str, interval: Mapping[str, float]) -> str:
    if name.startswith(("AUROC", "f1", "detector: iou")) and not name.endswith("half"):
        return f"{interval['total']} images, {interval['patients']} patients"
    return f"{interval['hits']} of {interval['total']} images, {interval['patients']} patients"


def _site(interval: Mapping[str, float]) -> str:
    if not interval["total"]:
        return "none there"
    return f"{_interval(interval)}, {interval['hits']}/{interval['total']}, {interval['patients']} patients"
