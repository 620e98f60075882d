"""An evaluation report, beside the champion's, as rows and drawings for a page. Pure but for the look-up of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.core.text import counted
from portal.learning import gate
from portal.ml import EvaluationReport, Interval
from portal.registry.models import ModelVersion
from portal.web import boxplot, charts, drawings, tables

BINARY = ("sensitivity", "specificity", "precision", "f1", "accuracy")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as it is shown: never without its interval, of a share also that by patient, and what it was counted over."""

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
    if not gate.known(figure):
        return Figure("–", "", figure.total, figure.patients)
    interval = _ends(figure.low, figure.high, figure.patient_low, figure.patient_high) if figure.sure else ""
    return Figure(f"{figure.value:.3f}", interval, figure.total, figure.patients)


def _ends(low: float, high: float, patient_low: float | None, patient_high: float | None) -> str:
    drawn = "" if patient_low is None else f"; by patient {patient_low:.3f} to {patient_high:.3f}"
    return f"{low:.3f} to {high:.3f}{drawn}"


def figures(mine: EvaluationReport, champion: EvaluationReport | None) -> list[Line]:
    return [Line(name, shown(one), shown(other)) for name, one, other in _pairs(mine, champion)]


def _pairs(mine: EvaluationReport, champion: EvaluationReport | None) -> Iterator[tuple[str, Interval | None, Interval | None]]:
    for name in BINARY:
        yield name, mine.figures.get(name), champion.figures.get(name) if champion else None
    yield "AUROC", mine.auroc, champion.auroc if champion else None
    yield "average precision", mine.average_precision, champion.average_precision if champion else None
    yield "faint green found", mine.faint_green, champion.faint_green if champion else None
    yield "missed unseen", mine.missed_unseen, champion.missed_unseen if champion else None
    yield "sent to review", mine.review_rate, champion.review_rate if champion else None
    for kind, figure in mine.per_kind.items():
        yield f"{_said(kind)} named right", figure, champion.per_kind.get(kind) if champion else None


def _said(code: str) -> str:
    return code.replace("_", " ")


DETECTOR = {
    "ap50": "average precision at overlap 0.5", "ap50_95": "average precision, overlaps 0.5 to 0.95", "iou": "mean overlap of the best box",
    "iou_over_half": "best box overlaps by a half", "containment": "cervix within the crop", "false_finds": "found where no cervix is",
}  # fmt: skip
REPEATED = {"same_answer": "the same answer", "difference": "mean difference of p"}


def detector(mine: EvaluationReport, champion: EvaluationReport | None) -> list[Line]:
    """Figures against people's boxes first, then how often a cervix is found, by kind."""
    names = sorted(mine.detector, key=lambda name: (name not in DETECTOR, list(DETECTOR).index(name) if name in DETECTOR else 0, name))
    return _lines({name: DETECTOR.get(name, _said(name)) for name in names}, mine.detector, champion.detector if champion else {})


def repeated(mine: EvaluationReport, champion: EvaluationReport | None) -> list[Line]:
    return _lines(
        {name: REPEATED.get(name, name) for name in mine.repeatability}, mine.repeatability, champion.repeatability if champion else {}
    )


def _lines(names: Mapping[str, str], mine: Mapping[str, Interval], champion: Mapping[str, Interval]) -> list[Line]:
    return [Line(said, shown(mine[name]), shown(champion.get(name))) for name, said in names.items()]


SITE_COLUMNS = ("AUROC", "sensitivity", "specificity", "faint green found")


def sites(report: EvaluationReport) -> list[tuple[str, list[Figure | None]]]:
    """Rows of the per-site table: SITE_COLUMNS, then each kind named right."""
    return [
        (
            site,
            [
                shown(report.site_auroc.get(site)),
                shown(values.get("sensitivity")),
                shown(values.get("specificity")),
                shown(report.faint_green_by_site.get(site)),
                *(shown(report.per_site_kind.get(site, {}).get(kind)) for kind in report.kinds),
            ],
        )
        for site, values in sorted(report.per_site.items())
    ]


def _number(told: object) -> int:
    return told if isinstance(told, int) else 0


def left_out(told_of: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, list[tuple[str, Figure]]]]:
    """What the bundle tells of siblings, by the source that each was trained without: (site, counted over what, figures)."""
    return [
        (
            site,
            f"{counted(_number(told.get('images')), 'image')} of {counted(_number(told.get('patients')), 'patient')}",
            [(_said(name), figure) for _, name, figure in sorted(card(told), key=_of_weight)],
        )
        for site, told in told_of.items()
    ]


def of_siblings(told_of: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures and curves of the sources left out, for the page, and those that a part of their sibling may have seen."""
    kept = [site for site, told in told_of.items() if told.get("kept_part")]
    return {"left_out": left_out(told_of), "left_out_roc": charts.left_out(told_of), "left_out_kept": kept}


def _of_weight(row: tuple[str, str, Figure]) -> tuple[int, str]:
    """What tells most comes first: the order of all, then what is found when regular images are spared; JSON keeps no order."""
    name = row[1]
    rank = 0 if name == "auroc" else 1 if name.startswith("sensitivity at") else 2
    return rank, name


def ablation(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What each part adds, as the bundle tells it: `columns`, and `rows` of (judged by, figures); empty where it tells nothing."""
    told = metrics.get("ablation") or []
    points = [(point, kind) for point in (told[0]["points"] if told else []) for kind in ("", *sorted(point["per_kind"]))]
    columns = [f"{_said(kind) if kind else 'all'} at {point['specificity']:.0%}" for point, kind in points]
    rows = []
    for row in told:
        by = {f"{point['specificity']:.0%}": point for point in row["points"]}
        found = [by[f"{point['specificity']:.0%}"] for point, _ in points]
        cells = [one["per_kind"].get(kind) if kind else one["sensitivity"] for one, (_, kind) in zip(found, points, strict=True)]
        rows.append((row["name"], [_of_card(row["auroc"]), *(_of_card(cell) if cell else None for cell in cells)]))
    return {"columns": ["AUROC", *columns], "rows": rows} if rows else {}


def reading(report: EvaluationReport) -> list[tuple[str, str, Figure | None, Figure | None]]:
    """(at most missed, lower threshold, passes unseen, goes to review), first as the bundle is."""
    now = ("as the model is", "", shown(report.missed_unseen), shown(report.review_rate))
    moved = [(f"{one.missed:.0%}", f"{one.threshold:.3f}", shown(one.seen), shown(one.review)) for one in report.review_points]
    return [now, *moved]


def misclassified(report: EvaluationReport) -> list[dict[str, Any]]:
    """What was named wrong; first what would have been accepted as regular without anybody seeing it."""
    wrong = [dict(row) for row in report.images if row["kind"] in report.kinds and row["answer"] != row["kind"]]
    return sorted(wrong, key=lambda row: (not unseen(row), str(row["kind"]), str(row["site"])))


def unseen(row: Mapping[str, Any]) -> bool:
    return bool(row["route"] == "auto_regular" and row["kind"] != "regular")


def pictured(rows: Sequence[Mapping[str, Any]], images: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows with the ids of their images, where they are here and may be seen."""
    return [{**row, "image": images.get(row["sha256"]), "unseen": unseen(row)} for row in rows]


def extremes(report: EvaluationReport, most: int) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """(kind, `lowest` or `highest`, rows) by the probability of non-regular (the paper's Fig. 5); no image is in both ends."""
    found = []
    for kind in report.kinds:
        rows: list[dict[str, Any]] = [dict(row) for row in report.images if row["kind"] == kind]
        rows.sort(key=lambda row: float(row["p_non_regular"]))
        low = rows[: min(most, len(rows) // 2)]
        high = rows[::-1][: min(most, len(rows) - len(low))]
        found += [(kind, end, some) for end, some in (("lowest", low), ("highest", high)) if some]
    return found


def drawn(mine: EvaluationReport, champion: EvaluationReport | None, version: ModelVersion) -> dict[str, Any]:
    """Everything of the page that comes from the reports alone."""
    operating = drawings.operating(mine.operating_points, champion.operating_points if champion else ())
    return {
        "figures": figures(mine, champion),
        "confusion": tables.confusion(mine.kinds, mine.confusion),
        "champion_confusion": tables.confusion(champion.kinds, champion.confusion) if champion else None,
        "site_columns": [*SITE_COLUMNS, *(f"{_said(kind)} named right" for kind in mine.kinds)],
        "sites": sites(mine),
        **of_siblings(mine.left_out),
        "roc": charts.roc(mine, champion),
        "precision_recall": charts.precision_recall(mine, champion),
        "by_kind": charts.embeddings(mine, "kind"),
        "by_site": charts.embeddings(mine, "site"),
        "operating": operating,
        "operating_table": drawings.as_table(operating),
        "reliability": drawings.reliability(mine.calibration),
        "reading": reading(mine),
        "detector": detector(mine, champion),
        "repeated": repeated(mine, champion),
        "plot": boxplot.layout(mine.box_plot, version.thresholds),
    }


def card(metrics: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, str, Figure]]:
    """The figures with an interval that a bundle brings along, whatever their groups: (group, name, figure).

    Those of sources that were left out stand elsewhere, before everything.
    """
    for name, value in _told(metrics):
        if _is_interval(value):
            yield group, name, _of_card(value)
        elif isinstance(value, Mapping):
            yield from card(value, _within(group, name))


COUNTS = ("images", "patients")
MADE_UP_TOO = ("made_up_images", "log_loss_alone", "log_loss_beside")
"""Of the comparison within exams (`training.context.fit`): counted over made-up exams too."""


def checks(metrics: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, str, str, str]]:
    """The plain numbers that a bundle brings along, which have no interval: (group, name, value, counted over what or nothing).

    A group counts its own images and patients; figures of a part of them (`device: log loss`), or of images that were made up as well, were
    counted over others, of which the bundle does not tell.
    """
    over = ", ".join(counted(int(metrics[name]), name[:-1]) for name in COUNTS if _is_number(metrics.get(name)))
    plain = {name: value for name, value in _told(metrics) if isinstance(value, int | float | str)}
    named = [name for name in plain if not (over and name in COUNTS)]
    for name in named:
        value = plain[name]
        said = f"{value:.4g}" if isinstance(value, float) else str(value)
        yield group, name, said, "" if name in MADE_UP_TOO or ": " in name else over
    if over and not named:
        yield group, "counted", over, ""
    for name, value in _told(metrics):
        if isinstance(value, Mapping) and not _is_interval(value):
            yield from checks(value, _within(group, name))


def _told(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in metrics.items() if name != "leave_one_source_out")


def _is_interval(value: object) -> bool:
    return isinstance(value, Mapping) and "value" in value and "low" in value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(group: str, name: str) -> str:
    return f"{group} / {name}" if group else name


def _of_card(value: Mapping[str, Any]) -> Figure:
    told = value["value"] is not None
    sure = told and value["low"] is not None and value["high"] is not None
    interval = _ends(value["low"], value["high"], value.get("patient_low"), value.get("patient_high")) if sure else ""
    return Figure(f"{value['value']:.3f}" if told else "–", interval, int(value.get("total") or 0), int(value.get("patients") or 0))
