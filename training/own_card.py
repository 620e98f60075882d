"""The model card that a training leaves with its bundle, from bundle.json alone: whoever writes that anew writes this anew.

Its figures are the training's own. What a bundle is worth is measured afterwards; `training.card` writes the card of one that is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS
from training import card
from training.card import UNTOLD, cell
from training.config import PARTS
from training.manifest import SPLITS, Snapshot, count_patients, counts
from training.methods import part_of, title_of
from training.own_figures import NAME as OWN
from training.types import TrainingRefused

About = Mapping[str, Any]
Row = Mapping[str, Any]
FEW = 30
"""Of so few images a figure says little."""
NAMES = {"detector": "detector", "resnest": "classifier", "deep_sad": "Deep SAD"}
PURPOSE = """\
To sort collections of photographs of the cervix beside people. Of each picture it says how it was taken: regular (white light or acetic
acid), through a green filter, or after Lugol's iodine. It finds the cervix, and tells what is blurred, too dark, overexposed or no cervix.
What lies between its thresholds, and what it is warned of, people read.
"""
FLATTERED = """\
Of pictures in validation and calibration that people labelled, but for those that were read because a model was unsure of them. **By these
very patients passes were chosen and probabilities fitted, so every figure here flatters.** Each picture is judged alone, without the others
of its exam. The test split was not looked at: a report (`evaluate`, or the model's page in the portal) measures on it, and such figures
alone are to be told to others. A report of a source that was left out says more still.
"""
LIMITS = """\
- A mild green filter looks almost like white light: faint green pictures are missed most, and on a new device more of them.
- What is said of a site or device that is not named above was never measured. Let people read its pictures first.
- Where images of one exam are compared, answers hang on what else was sent of that exam.
- Labels are taken as they are: what people named wrong was learned wrong.
"""


def data_of(data: Snapshot) -> dict[str, Any]:
    """What was trained on, as bundle.json keeps it: images and patients in all, by split, by site, by split, site and kind, and by
    provenance of the label."""
    records = data.records
    return {
        "images": len(records), "patients": count_patients(records), "splits": counts(records, "split"), "sites": counts(records, "site"),
        "cells": counts(records, "split", "site", "kind"), "labels": counts(records, "provenance"),
    }  # fmt: skip


def text(about: About, digest: str) -> str:
    """The card. What bundles of before it was kept do not tell is said to be not told."""
    data, figures = about.get("data"), about["metrics"].get("refit", {})
    sections = [
        card.head(about, digest), "## What it is for\n\n" + PURPOSE, "## Not to be used for\n\n" + card.NEVER,
        "## Parts\n\n" + _parts(about), "## Trained on\n\n" + (_data(data) if data else f"Images and patients: {UNTOLD}.\n"),
        "## Thresholds and calibration\n\n" + _calibration(about, figures.get("calibration", {})),
        "## Figures: the training's own checks\n\n" + _figures(figures.get(OWN, {})),
        "## Known limits\n\n" + LIMITS + "".join(f"- {line}\n" for line in _limits(about)),
    ]  # fmt: skip
    return "\n".join(sections)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell(one) for one in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _parts(about: About) -> str:
    trained, begins, recipes = about.get("trained_parts", ()), about.get("begins", {}), about.get("recipes", {})
    methods = {part_of(named): _title(named) for named in about.get("methods", ())}
    as_preset = f"as preset {about.get('preset', UNTOLD)} has it"
    rows = [
        (NAMES[part], methods.get(part, as_preset) if part in trained else "not trained", _recipe(recipes.get(part, {}), part in trained),
         begins.get(part, UNTOLD))
        for part in PARTS
    ]  # fmt: skip
    named = {"start": "What was not trained is of bundle", "weights_from": "Start weights are of bundle"}
    given = [f"{said} `{about[key]}`." for key, said in named.items() if about.get(key, "random") != "random"]
    learned = about.get("start_sources", ())
    told = [f"These bundles learned from: {', '.join(learned)}."] if given and learned else []
    return _table(["part", "method", "passes", "begins with"], rows) + "".join(f"\n{line}\n" for line in (*given, *told))


def _title(named: str) -> str:
    """A method may have had another name when the bundle was trained."""
    try:
        return title_of(named)
    except TrainingRefused:
        return named


def _recipe(recipe: Row, trained: bool) -> str:
    if not trained or "epochs" not in recipe:
        return "" if not trained else UNTOLD
    return f"{recipe['epochs']}, {recipe['batch']} at a time, rate {recipe['lr']:g}"


def _data(data: Row) -> str:
    splits = {row["split"]: _over(row) for row in data["splits"]}
    cells = {(row["site"], row["kind"], row["split"]): f"{row['images']} ({row['patients']})" for row in data["cells"]}
    rows = [
        (site, kind.replace("_", " "), *(cells.get((site, kind, split), "") for split in SPLITS))
        for site, kind in dict.fromkeys((row["site"], row["kind"]) for row in data["cells"])
    ]
    lines = [
        f"{_over(data)}: " + "; ".join(f"{split} {splits.get(split, 'none')}" for split in SPLITS) + ".",
        "By site: " + "; ".join(f"{row['site']} {_over(row)}" for row in data["sites"]) + ".",
        "Labels by provenance: " + "; ".join(f"{row['provenance']} {_over(row)}" for row in data["labels"]) + ". "
        "Those called `automatic` train and measure nothing.",
        "Images, and patients in brackets:",
    ]  # fmt: skip
    return "\n\n".join(cell(line) for line in lines) + "\n\n" + _table(["site", "kind", *SPLITS], rows)


def _over(row: Row) -> str:
    return " of ".join(f"{int(row[name])} {name if row[name] != 1 else name[:-1]}" for name in ("images", "patients"))


def _calibration(about: About, over: Row) -> str:
    fusion, devices = about["fusion"], about.get("calibrated_devices")
    named = UNTOLD if devices is None else ", ".join(devices) or "none"
    lines = [
        f"Regular without review below {fusion['t_lo']}, non-regular without review above {fusion['t_hi']}. "
        "These are fixed. The portal lets pass at a site only what its own readings have earned.",
        f"Probabilities were fitted on {_over(over)}, {int(over['non_regular'])} of them non-regular (validation and calibration)."
        if "non_regular" in over else f"What probabilities were fitted on: {UNTOLD}.",
        f"Devices with images enough to be calibrated on: {named}. Everything from other devices can be sent to people "
        "(`WINNOW_REVIEW_UNCALIBRATED`).",
    ]  # fmt: skip
    if "calibration_snapshot_hash" in about:
        lines.append(f"Fitted anew after the training, on the snapshot of hash `{about['calibration_snapshot_hash']}`.")
    return "".join(f"- {cell(line)}\n" for line in lines)


def _figures(figures: Mapping[str, Row]) -> str:
    if not figures:
        return f"Figures with an interval: {UNTOLD}.\n"
    rows = [(name.replace("_", " "), card.interval_of(one), card.counted_of(_as_card(name), one)) for name, one in figures.items()]
    return FLATTERED + "\n" + _table(["figure", "value (95 % interval)", "counted"], rows)


def _as_card(name: str) -> str:
    """Of an area or a mean there are no hits."""
    return "AUROC" if name.startswith(("auroc", "overlap")) else name


def _limits(about: About) -> Iterator[str]:
    """What the numbers themselves say against the bundle."""
    own = about["metrics"].get("refit", {}).get(OWN, {})
    few = [f"{name.replace('_', ' ')} ({one['total']})" for name, one in own.items() if one["total"] < FEW]
    if few:
        yield f"Counted over few images: {', '.join(few)}."
    kept = [NAMES[part] for part in PARTS if part not in about.get("trained_parts", PARTS)]
    if kept:
        yield f"Not trained here: {', '.join(kept)}. What is kept may have learned from patients who are measured on here."
    if data := about.get("data"):
        yield from _of_sites(data["cells"])


def _of_sites(cells: Sequence[Row]) -> Iterator[str]:
    """Sites that were held out, and those of which a part of the training saw one class alone."""
    held = {split: {row["site"] for row in cells if row["split"] == split} for split in SPLITS}
    learned = held["train"] | held["validation"] | held["calibration"]
    for site in sorted({row["site"] for row in cells}):
        if site not in learned:
            yield f"{cell(site)} stands in the test split alone: it was held out."
            continue
        lacking = [kind for kind in CLASSIFIED_KINDS if not any(_is(row, site, ("train",), (kind,)) for row in cells)]
        if lacking:
            yield f"{cell(site)} has no picture of {', '.join(kind.replace('_', ' ') for kind in lacking)} to learn from."
        if not any(_is(row, site, ("validation", "calibration"), NON_REGULAR_KINDS) for row in cells):
            yield f"{cell(site)} has no non-regular picture in validation and calibration: its probabilities rest on other sites."


def _is(row: Row, site: str, splits: Sequence[str], kinds: Sequence[str]) -> bool:
    return row["site"] == site and row["split"] in splits and row["kind"] in kinds
