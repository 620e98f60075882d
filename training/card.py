"""The model card of a shipped bundle, written from bundle.json and from reports, so that no figure is typed by hand.

`training.own_card` writes the one that every training leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.bundle import read_manifest
from inference.members import Member, further
from training.config import AUTOENCODER, RANDOM

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

NEVER = """\
- **Research use only.** The weights were trained on pictures of which most carry no open licence. No picture is part of the bundle.
- It says how a photograph was taken (white light or acetic acid; green filter; Lugol's iodine). It says **nothing about disease** and
  must not be used for screening, diagnosis, triage of patients or any decision on treatment.
- It flags what is blurred, too dark, overexposed or no cervix, and sends it to people; it does not sort it out by itself, and it misses
  some. A picture that was taken after treatment looks to it like any other.
"""
NOT_FOR = f"""\
{NEVER}\
- A mild green filter looks almost like white light. On a device that it has not seen it **misses a large share of faint green pictures**
  (see the leave-one-source-out figures). Do not rely on automatic answers for a new site or device before they were calibrated on pictures
  that people read there.
- The thresholds are fixed; no site of yours has earned them.
"""

LEFT_OUT = """## Figures: leave one source out

`{site}` never seen: these are a sibling's weights, of the same recipe. No part of it was trained, calibrated or tuned on a picture of that
source, and patients who also stand in another source were left out. (The people who designed the synthetic green filter had looked at
pictures of `iarc-colposcopy`.) This is what to expect of a new device.
"""
KEPT = """## Figures: leave one source out

`{site}` left out of training: these are a sibling's weights, of the same recipe, without the pictures of that source and without its
patients who also stand in another source. **But a part of the sibling was kept from a bundle that knows the source by name, or does not say
what it knows**, and may have learned from its pictures: see the notes. (The people who designed the synthetic green filter had looked at
pictures of `iarc-colposcopy`.) With that in mind, this is what to expect of a new device.
"""
TITLES = {
    "test": """## Figures: shipped weights, patient split

Patients that no part was trained or calibrated on, of the same sources; labels given by people only.
""",
    "folds": """## Figures: folds by patient

Of bundles of the same recipe, whose classifiers were trained without the patients they are tested on; the shipped weights are none of
them. Every patient of these sources whom people labelled is tested once. Where no figure of the detector stands here, it was kept from a
start bundle: it may have learned boxes of these patients, and it cuts the crops that are judged. For a fixed specificity one threshold is
set for all bundles, in the last table one for each site, on these very images.
""",
    "examples": """## Figures: shipped weights on the drawn example set

Of seeds that were never trained on. Drawn pictures flatter: they show that the portal's own demonstration works, and no more.
""",
}
ADDS = """## What each part adds

On the source that was left out, by the sibling trained without it: the same images, judged by one part after another. The threshold of each
is set on these very images so that 98 or 99 % of the regular ones are spared.
"""


def write(bundle: Path, left_out: Mapping[str, Report], reports: Mapping[str, Report], *, notes: str = "") -> str:
    """The card's text. left_out: source -> report of a sibling trained without it. reports: of `test`, `folds` and `examples`; what is
    absent is left out. A sibling's report must have `held_out`."""
    return text(*read_manifest(bundle), left_out, reports, notes=notes)


def text(about: Mapping[str, Any], digest: str, left_out: Mapping[str, Report], reports: Mapping[str, Report], *, notes: str = "") -> str:
    """As `write`, from the content of bundle.json and the bundle's hash."""
    sections = [head(about, digest), "## Not to be used for\n\n" + NOT_FOR, "## Trained on\n\n" + SOURCES]
    for site, report in left_out.items():
        sections.append((LEFT_OUT if site in report["held_out"] else KEPT).format(site=site) + "\n" + table(report))
    if parts := about["metrics"].get("ablation"):
        sections.append(ADDS + "\n" + ablation(parts))
    sections += [title + "\n" + table(reports[name]) for name, title in TITLES.items() if name in reports]
    if notes:
        sections.append("## Notes\n\n" + notes)
    return "\n".join(sections)


def _members(classifier: Mapping[str, Any]) -> str:
    named = [str(member) for member in (Member(classifier["backbone"], classifier["size"]), *further(classifier))]
    return f"{named[0]} of the crop" if len(named) == 1 else f"mean of {len(named)} networks ({'; '.join(named)})"


UNTOLD = "not told"


def cell(said: object) -> str:
    """Within a table: on one line, and no bar."""
    return " ".join(str(said).split()).replace("|", "\\|")


def head(about: Mapping[str, Any], digest: str) -> str:
    parts, fusion = about["parts"], about["fusion"]
    rows = [
        ("bundle hash", f"`{digest}`"),
        ("made", f"{about['created']}, code version {about['code_version']}, preset `{about.get('preset', UNTOLD)}`"),
        ("snapshot", f"`{about.get('snapshot_name', UNTOLD)}`, hash `{about['snapshot_hash']}`"),
        (
            "detector",
            f"RetinaNet, {parts['detector']['backbone']}, {parts['detector']['size']} px, {parts['detector']['channels']} channels",
        ),
        (
            "classifier",
            f"{_members(parts['resnest'])}, three classes; the average pool of the first is the embedding",
        ),
        ("Deep SAD", f"32 px, 520,544 parameters, {_deep_sad(about)}"),
        ("fusion", f"logistic, weights >= 0 on {', '.join(_weighed(fusion))}"),
        ("context", _compares(about.get("context") or {})),
        ("quality", "blur, glare, exposure, not a cervix" if "quality" in about else "not looked at"),
        ("thresholds", f"automatic below {fusion['t_lo']} and above {fusion['t_hi']}, else review"),
        ("start weights", _start(about)),
        ("licence", about["licence_note"]),
    ]
    lines = "\n".join(f"| {name} | {cell(value)} |" for name, value in rows)
    return f"""# Model card: {" ".join(about["name"].split())}

| | |
|---|---|
{lines}

Intervals are 95 %. Of a share the first is Wilson's (images taken as independent, though several come from one patient) and the second,
"by patient", draws whole patients; Wilson's stands alone where drawing them tells nothing (all patients are alike), and where a report
was made before there was the second. AUROC, F1, average precision, IoU and what is found at a fixed specificity have one, by patient.
"""


def _weighed(fusion: Mapping[str, Any]) -> list[str]:
    names = {
        "w_logit": "the classifier's log odds", "w_distance": "the log Deep SAD distance",
        "w_neighbours": "the distance to the nearest training embeddings", "w_detector": "the box's score",
    }  # fmt: skip
    return [said for name, said in names.items() if fusion.get(name)]


def _compares(context: Mapping[str, Any]) -> str:
    if not context.get("weights"):
        return "images are judged alone"
    off = [device for device, weights in context["devices"].items() if weights is None]
    return "images of one exam are compared" + (f", but for the devices {', '.join(off)}, where it did not help" if off else "")


def _deep_sad(about: Mapping[str, Any]) -> str:
    """What it began with. Bundles of before that was written down all came from an autoencoder."""
    unsupervised = "deep_sad" in about.get("trained_parts", ()) and about.get("recipes", {}).get("deep_sad", {}).get("unsupervised")
    begun = about.get("begins", {}).get("deep_sad", AUTOENCODER)
    begun = begun if begun.startswith("kept") else f"started from {begun}"
    return f"{begun}, no label used (Deep SVDD)" if unsupervised else begun


def _start(about: Mapping[str, Any]) -> str:
    if begins := about.get("begins"):
        said = {"detector": begins["detector"], "classifier": begins["resnest"]}
        return "; ".join(f"{part}: {begun}" for part, begun in said.items() if begun != RANDOM) or "random"
    recipes = about.get("recipes", {})
    files = {part: recipes[part]["weights"] for part in ("detector", "resnest") if recipes.get(part, {}).get("weights")}
    if further := recipes.get("resnest", {}).get("more_weights"):
        files["resnest"] = ", ".join(dict.fromkeys([files.get("resnest", "random"), *further.split(",")]))
    named = {"detector": "detector", "resnest": "classifier"}
    return "; ".join(f"{named[part]}: ImageNet ({file})" for part, file in files.items()) or "random"


def ablation(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each part adds, as a Markdown table."""
    points = [(f"{point['specificity']:.0%}", kind) for point in rows[0]["points"] for kind in ("", *point["per_kind"])]
    heads = [f"{kind.replace('_', ' ') or 'all'} at {at}" for at, kind in points]
    lines = [f"{rows[0]['images']} images of {rows[0]['patients']} patients.", "", "| judged by | AUROC | " + " | ".join(heads) + " |"]
    lines.append("|---|---|" + "---|" * len(points))
    for row in rows:
        cells = [
            interval_of(point["per_kind"][kind] if kind else point["sensitivity"])
            for point in row["points"] for kind in ("", *point["per_kind"])
        ]  # fmt: skip
        lines.append(f"| {row['name']} | {interval_of(row['auroc'])} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def table(report: Report) -> str:
    """One report as a Markdown table, with numbers of images and patients."""
    rows = [("AUROC of non-regular", report["auroc"])] if report["auroc"] else []
    rows += [(name, report["figures"][name]) for name in ("sensitivity", "specificity", "precision", "accuracy", "f1")]
    rows += [(f"`{kind}` answered right", interval) for kind, interval in report["per_kind"].items()]
    if report["faint_green"]:
        rows.append(("faint green told from regular", report["faint_green"]))
    for point in report["operating_points"]:
        if not point["site"]:
            at = f"at {point['specificity']:.0%} specificity, found"
            rows += [(at, point["sensitivity"]), *((f"{at} of `{kind}`", one) for kind, one in point["per_kind"].items())]
    rows += [(f"calibration error, all sites (limit {c['limit']:.3f})", c) for c in report["calibration"] if not c["site"]]
    rows += [("sent to review", report["review_rate"]), ("non-regular accepted as regular without review", report["missed_unseen"])]
    rows += [(f"detector: {name.replace('_', ' ')}", interval) for name, interval in report["detector"].items()]
    lines = [
        f"{report['images_total']} images of {report['patients_total']} patients.",
        "",
        "| figure | value (95 % interval) | counted |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {interval_of(interval)} | {counted_of(name, interval)} |" for name, interval in rows]
    if len(report["per_site"]) > 1:
        lines += ["", "| site | sensitivity | specificity |", "|---|---|---|"]
        lines += [f"| {site} | {_site(f['sensitivity'])} | {_site(f['specificity'])} |" for site, f in report["per_site"].items()]
    return "\n".join([*lines, *_points_by_site(report)]) + "\n"


def _points_by_site(report: Report) -> list[str]:
    """What is found at fixed specificities where the threshold is the site's own."""
    points = [point for point in report["operating_points"] if point["site"]]
    if len(report["per_site"]) < 2 or not points:
        return []
    shares = sorted({point["specificity"] for point in points})
    found = {(point["site"], point["specificity"]): point for point in points}
    heads = ["site, by a threshold set on its own images here", "AUROC", *(f"found at {at:.0%} specificity" for at in shares)]
    lines = ["", f"| {' | '.join(heads)} |", "|---|---|" + "---|" * len(shares)]
    for site in dict.fromkeys(point["site"] for point in points):
        area = report["site_auroc"].get(site)
        cells = [_found(found[site, at]) for at in shares]
        lines.append(f"| {site} | {interval_of(area) if area else ''} | " + " | ".join(cells) + " |")
    return lines


def _found(point: Mapping[str, Any]) -> str:
    kinds = "; ".join(f"{kind.replace('_', ' ')} {one['hits']} of {one['total']}" for kind, one in point["per_kind"].items())
    return f"{_site(point['sensitivity'])} ({kinds})"


def interval_of(interval: Mapping[str, Any]) -> str:
    if "error" in interval:
        return f"{interval['error']:.3f}"
    drawn = "" if interval.get("patient_low") is None else f"; by patient {interval['patient_low']:.3f}-{interval['patient_high']:.3f}"
    return f"{interval['value']:.3f} ({interval['low']:.3f}-{interval['high']:.3f}{drawn})"


def counted_of(name: str, interval: Mapping[str, Any]) -> str:
    if "error" in interval:
        return f"{interval['images']} images, {interval['patients']} patients"
    if name.startswith(("AUROC", "f1", "detector: iou")) and not name.endswith("half"):
        return f"{interval['total']} images, {interval['patients']} patients"
    return f"{interval['hits']} of {interval['total']} images, {interval['patients']} patients"


def _site(interval: Mapping[str, float]) -> str:
    if not interval["total"]:
        return "none there"
    return f"{interval_of(interval)}, {interval['hits']}/{interval['total']}, {interval['patients']} patients"
