"""The evaluation report as one HTML file: what holds for a source that was not seen first, plots before tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training import figures, html
from training.types import FOLDS, KEPT_PART, EvaluationReport, Interval

ALL = "all sites"
EXTREMES = 6
WRONG = 36
BINARY = ("sensitivity", "specificity", "precision", "f1", "accuracy")


KEPT = (
    "The detector was kept from a start bundle. It may have learned boxes of these patients, and it cuts the crops that are judged here: "
    "no figure of it is given, and the others may flatter a little."
)


WHICH = (
    'Of a share the first interval is Wilson\'s, which takes every image as independent; the second, "by patient", draws whole patients, '
    "as images of one patient are alike. Wilson's stands alone where drawing them tells nothing (all patients are alike), and in older "
    "reports. All other figures (AUROC, average precision, F1, overlap, repeatability, what is found at a fixed specificity, the review "
    "rate at a fixed missed share) have one interval, by patient."
)


def as_html(report: EvaluationReport, snapshot: Path | None = None) -> str:
    parts = [
        _head(report), _left_out(report), _curves(report), _fixed(report), _scores(report), _calibration(report), _sites(report),
        _reading(report), _detector(report), _embedding(report), _repeat(report), _gallery(report, snapshot), _data(report), _cost(report),
    ]  # fmt: skip
    title = "Evaluation by folds of patients" if report.split == FOLDS else f"Evaluation of bundle {report.bundle_hash[:12]}"
    return html.page(title, [part for part in parts if part])


def _head(report: EvaluationReport) -> str:
    return html.note(
        f"{report.images_total} images of {report.patients_total} patients, {_tested(report)} snapshot {report.snapshot_hash[:12]}, "
        f"labelled by people. {_folded(report)}Positive: green filter or Lugol's iodine. In brackets the 95 % interval, and what was "
        f"counted. {WHICH}"
    )


def _tested(report: EvaluationReport) -> str:
    return "tested in folds of" if report.split == FOLDS else f"{report.split} split of"


def _folded(report: EvaluationReport) -> str:
    """What a report over folds is, and what it says nothing of."""
    if report.split != FOLDS:
        return ""
    kept = "" if report.detector else f"{KEPT} "
    return (
        "Several bundles were trained; each image is judged by the one whose classifiers had not seen its patient. The scores of all are "
        f"put into one order, and a threshold is the same for all. {kept}"
    )


def _left_out(report: EvaluationReport) -> str:
    """First what holds for a device that was not seen."""
    parts = []
    if report.held_out:
        names = " or ".join(report.held_out)
        parts.append(
            html.note(
                f"No site that the bundle learned from is called {names}. If none of their pictures came to it under another name, "
                "their figures below are what to expect of a new source."
            )
        )
    if report.left_out:
        curves = {site: _xy(told["roc"]) for site, told in report.left_out.items() if told.get("roc")}
        parts += [html.figure(figures.roc(curves), "ROC on sources that a sibling of this bundle was trained without.")] if curves else []
        for site, told in report.left_out.items():
            rows = [[name, _as_interval(value)] for name, value in told.items() if isinstance(value, Mapping)]
            counted = f"{site} left out: {told.get('images')} images of {told.get('patients')} patients"
            parts.append(html.table(["figure", "value"], rows, counted))
            if told.get(KEPT_PART):
                parts.append(html.note(f"That sibling kept a part of a bundle that may have learned from pictures of {site}."))
    if not parts:
        parts.append(
            html.note(
                "No site here is known to be new to the bundle or to one that it started from, and it tells of no sibling. A new device "
                "may do worse."
            )
        )
    return html.section("Leave one source out", *parts)


def _xy(points: Any) -> tuple[list[float], list[float]]:
    return [float(point[0]) for point in points], [float(point[1]) for point in points]


def _as_interval(value: Mapping[str, Any]) -> Interval:
    numbers = [math.nan if value[name] is None else float(value[name]) for name in ("value", "low", "high")]
    counted = int(value["hits"]), int(value["total"]), int(value["patients"])
    return Interval(numbers[0], numbers[1], numbers[2], *counted, value.get("patient_low"), value.get("patient_high"))


def _curves(report: EvaluationReport) -> str:
    drawn = []
    if report.roc:
        caption = f"ROC. AUROC {html.words(report.auroc)}."
        drawn.append(html.figure(figures.roc({ALL: _xy(report.roc)}), caption))
    if report.precision_recall:
        caption = (
            f"Precision and recall. Average precision {html.words(report.average_precision)}; it hangs on how common the positive are."
        )
        drawn.append(html.figure(figures.precision_recall({ALL: _xy(report.precision_recall)}), caption))
    drawn.append(html.figure(figures.confusion(report.confusion, report.kinds), "Truth (rows) and the bundle's answer (columns)."))
    rows: list[list[object]] = [[name, report.figures.get(name)] for name in BINARY]
    rows += [["AUROC", report.auroc], ["average precision", report.average_precision]]
    rows += [[f"{_said(kind)} named right", one] for kind, one in report.per_kind.items()]
    rows += [["faint green found", report.faint_green]]
    return html.section("At the bundle's own answer", *drawn, html.table(["figure", "value"], rows))


def _said(code: str) -> str:
    return code.replace("_", " ")


def _fixed(report: EvaluationReport) -> str:
    if not report.operating_points:
        return ""
    kinds = sorted({kind for point in report.operating_points for kind in point.per_kind})
    rows = [
        [f"{point.site or ALL}, {point.specificity:.0%}", point.reached, point.sensitivity, *(point.per_kind.get(kind) for kind in kinds)]
        for point in report.operating_points
    ]
    heads = ["site, specificity asked for", "specificity reached", "non-regular found", *(f"{_said(kind)} found" for kind in kinds)]
    said = "The threshold is set on the images that it is measured on, for each row anew."
    return html.section("Sensitivity at a fixed specificity", html.table(heads, rows, said))


def _scores(report: EvaluationReport) -> str:
    groups: dict[tuple[str, str], list[float]] = {}
    for row in judged(report):
        groups.setdefault((str(row["site"]), str(row["kind"])), []).append(float(row["p_non_regular"]))
    named = [(f"{site}\n{_said(kind)}", values) for (site, kind), values in sorted(groups.items())]
    caption = "Probability of non-regular by site and kind. Dashed: 0.5, where the answer changes."
    return html.section("Scores", html.figure(figures.box_plot(named, 0.5), caption))


def _calibration(report: EvaluationReport) -> str:
    if not report.calibration:
        return ""
    drawn = [
        html.figure(
            figures.reliability(one.bins), f"{one.site or ALL}: error {one.error:.3f} over {one.images} images of {one.patients} patients."
        )
        for one in report.calibration
    ]
    rows = [
        [one.site or ALL, one.error, one.limit, "yes" if one.error <= one.limit else "no", one.images, one.patients, one.positives]
        for one in report.calibration
    ]
    heads = ["site", "calibration error", "perfect scores stay below", "as good as perfect", "images", "patients", "non-regular"]
    said = (
        "Over 15 bins of equally many images, with Wilson's intervals. Perfectly calibrated scores of as many images stay below the limit "
        "19 times in 20."
    )
    return html.section("Calibration", *drawn, html.table(heads, rows, said))


def _sites(report: EvaluationReport) -> str:
    rows = [
        [site, report.site_auroc.get(site), *(values.get(name) for name in BINARY[:2]), report.faint_green_by_site.get(site)]
        for site, values in report.per_site.items()
    ]
    kinds = [
        [site, *(values.get(kind) for kind in report.kinds)] for site, values in report.per_site_kind.items()
    ]  # fmt: skip
    return html.section(
        "By site",
        html.table(["site", "AUROC", "sensitivity", "specificity", "faint green found"], rows),
        html.table(["site", *(f"{_said(kind)} named right" for kind in report.kinds)], kinds),
    )


def _reading(report: EvaluationReport) -> str:
    rows: list[list[object]] = [["as the bundle is", None, report.missed_unseen, report.review_rate]]
    rows += [[f"at most {one.missed:.0%} missed", one.threshold, one.seen, one.review] for one in report.review_points]
    said = "The lower threshold is set on the images that it is measured on, so it flatters a little."
    if report.known_devices_only:
        said += " Whatever comes from a device on which the bundle was not calibrated counts as read."
    return html.section(
        "What must be read", html.table(["missed unseen", "lower threshold", "passes unseen", "goes to review"], rows, said)
    )


def _detector(report: EvaluationReport) -> str:
    if not report.detector:
        return ""
    return html.section("Detector", html.table(["figure", "value"], [[_said(name), one] for name, one in report.detector.items()]))


def _embedding(report: EvaluationReport) -> str:
    rows = [row for row in report.images if row.get("map")]
    if not rows:
        return ""
    points = [row["map"] for row in rows]
    by_kind = figures.scatter(points, [str(row["kind"]) for row in rows], "by kind")  # type: ignore[arg-type]
    by_site = figures.scatter(points, [str(row["site"]) for row in rows], "by site")  # type: ignore[arg-type]
    caption = f"t-SNE of {len(rows)} embeddings. Distances between clusters mean nothing."
    return html.section("Embeddings", html.figure(by_kind, caption), html.figure(by_site, "The same: sites that lie apart are told apart."))


def _repeat(report: EvaluationReport) -> str:
    if not report.repeatability:
        return ""
    said = "Between images of one kind in one exam; every exam and kind counts once."
    rows = [[_said(name), one] for name, one in report.repeatability.items()]
    return html.section("Repeatability", html.table(["figure", "value"], rows, said))


def _gallery(report: EvaluationReport, snapshot: Path | None) -> str:
    parts = []
    for kind in report.kinds:
        for name, rows in zip(("lowest", "highest"), extremes(report, kind), strict=True):
            if rows:
                parts += [html.heading(f"{_said(kind)}: {name} probabilities of non-regular"), _cards(rows, snapshot)]
    missed = wrong(report)
    parts += [html.heading(f"Named wrong: {len(missed)} images, {min(len(missed), WRONG)} shown"), _cards(missed[:WRONG], snapshot)]
    return html.section("Extremes, and what was named wrong", *parts)


def _cards(rows: Sequence[Mapping[str, Any]], snapshot: Path | None) -> str:
    if snapshot is not None:
        return html.pictures([(_file(snapshot, str(row["sha256"])), _caption(row)) for row in rows])
    cells = [
        [row["sha256"][:12], row["site"], row["patient"], _said(row["kind"]), _said(row["answer"]), row["p_non_regular"]] for row in rows
    ]
    return html.table(["image", "site", "patient", "truth", "answer", "p"], cells) if cells else html.note("None.")


def _caption(row: Mapping[str, Any]) -> str:
    return f"{_said(row['kind'])}, answered {_said(row['answer'])}, p {row['p_non_regular']:.3f}; {row['site']} {row['patient']}"


def _file(snapshot: Path, sha256: str) -> Path | None:
    return next(iter(sorted((snapshot / "images").glob(f"{sha256}.*"))), None)


def _data(report: EvaluationReport) -> str:
    if not report.composition:
        return ""
    rows = [[row[name] for name in ("split", "site", "kind", "images", "patients")] for row in report.composition]
    return html.section("The snapshot", html.table(["split", "site", "kind", "images", "patients"], rows))


def _cost(report: EvaluationReport) -> str:
    cost = report.cost
    if cost is None:
        return ""
    rows: list[list[object]] = [
        ["device", cost.device], ["torch threads", cost.threads], ["images, in batches of", f"{cost.images}, {cost.batch}"],
        ["decoding, ms an image", cost.decode_ms], ["analysis, ms an image: median", cost.median_ms], ["95th percentile", cost.p95_ms],
        ["images a second, all in all", cost.images / cost.seconds if cost.seconds else None],
        ["peak memory of the process, MiB", cost.memory_mib], ["peak memory of the card, MiB", cost.gpu_memory_mib],
    ]  # fmt: skip
    return html.section("What this evaluation took", html.table(["", "value"], rows))


def judged(report: EvaluationReport) -> list[dict[str, Any]]:
    """The images of the kinds that are tested on."""
    return [row for row in report.images if row["kind"] in report.kinds]


def wrong(report: EvaluationReport) -> list[dict[str, Any]]:
    """What was named wrong; first what was accepted as regular unseen."""
    found = [row for row in judged(report) if row["answer"] != row["kind"]]
    return sorted(found, key=lambda row: (not (row["route"] == "auto_regular" and row["kind"] != "regular"), row["kind"], row["site"]))


def extremes(report: EvaluationReport, kind: str, most: int = EXTREMES) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lowest and the highest scores of a kind (the paper's Fig. 5); no image is in both."""
    rows = sorted((row for row in report.images if row["kind"] == kind), key=lambda row: float(row["p_non_regular"]))  # type: ignore[arg-type]
    low = rows[: min(most, len(rows) // 2)]
    return low, rows[::-1][: min(most, len(rows) - len(low))]
