"""The paper's Tables 1 to 8 from the results, with intervals, beside what it published. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from inference.types import CLASSIFIED_KINDS, Kind
from training.manifest import Record, count_patients
from training.metrics import auroc, f1_score
from training.reproduction.collection import ROLES, Collection
from training.reproduction.estimates import ESTIMATE, Bools, Estimate, Table, bootstrapped, numbers, share
from training.reproduction.experiment import Results, Scored
from training.reproduction.finders import detector_table
from training.reproduction.material import Part
from training.reproduction.paper import PUBLISHED
from training.types import Interval

DEEP = ("deep_sad", "deep_sad_no_ae", "deep_svdd")
FIGURES = ("sensitivity", "specificity", "precision", "F1", "accuracy", "AUROC", "green found", "faint green found", "iodine found")


def all_tables(collection: Collection, results: Results, rounds: int) -> list[Table]:
    """Tables 1 to 8 and the detectors' own. `rounds`: of the bootstrap."""
    made = [*data_tables(collection), detector_table(results.found, rounds)]
    families: tuple[tuple[str, str, Callable[[Scored], bool]], ...] = (
        ("Deep SAD and Deep SVDD at 32 px", "56", lambda one: one.run.method.name in DEEP),
        ("ResNeSt, other backbones and heads on its embedding", "78", lambda one: one.run.method.name not in DEEP),
    )
    test = results.parts["test"]
    for title, places, belongs in families:
        own = [one for one in results.scored if belongs(one)]
        made += [
            confusion_table(f"Table {places[0]}", title, own, test),
            performance_table(f"Table {places[1]}", title, own, test, rounds),
        ]
    return made


# --- Tables 1 to 4: the data ------------------------------------------------------------------------------------------------------


def data_tables(collection: Collection) -> list[Table]:
    """Patients and images by split; patients by site and class; images by site and class; both by split, site and class."""
    records = [record for record in collection.records if record.kind in CLASSIFIED_KINDS]
    kinds = [kind.value for kind in CLASSIFIED_KINDS]
    sites = sorted({record.site for record in records})

    def line(chosen: Sequence[Record], count: Callable[[Iterable[Record]], int]) -> list[object]:
        return [*(count(r for r in chosen if r.kind == kind) for kind in kinds), count(chosen)]

    def images(chosen: Iterable[Record]) -> int:
        return len(list(chosen))

    by_split = [
        [role, *(cell for pair in zip(line(own, images), line(own, count_patients), strict=True) for cell in pair)]
        for role in ROLES
        if (own := [r for r in records if r.split == role]) is not None
    ]
    heads = [f"{kind}, {what}" for kind in [*kinds, "all"] for what in ("images", "patients")]
    of_site = [(site, [r for r in records if r.site == site]) for site in sites]
    everything = [
        [role, site, *(cell for pair in zip(line(own, images), line(own, count_patients), strict=True) for cell in pair)]
        for role in ROLES
        for site, rest in of_site
        if (own := [r for r in rest if r.split == role])
    ]
    return [
        Table("Table 1", "Images and patients of each split, by class", ["split", *heads], by_split),
        Table(
            "Table 2", "Patients of each site, by class", ["site", *kinds, "all"], [[s, *line(own, count_patients)] for s, own in of_site]
        ),
        Table("Table 3", "Images of each site, by class", ["site", *kinds, "all"], [[s, *line(own, images)] for s, own in of_site]),
        Table("Table 4", "Images and patients by split, site and class", ["split", "site", *heads], everything),
    ]


# --- Tables 5 to 8: the classifiers -----------------------------------------------------------------------------------------------


def confusion_table(number: str, title: str, runs: Sequence[Scored], test: Part) -> Table:
    """Answers by method, preset, site and true class."""
    rows = []
    for one in runs:
        groups: dict[tuple[str, str], list[bool]] = {}
        for record, said in zip(test.records, one.said, strict=True):
            groups.setdefault((record.site, record.kind.value), []).append(bool(said))
        for (site, kind), answers in sorted(groups.items()):
            rows.append([one.run.method.name, one.run.preset, site, kind, len(answers) - sum(answers), sum(answers)])
    headers = ["method", "preset", "site", "true class", "answered regular", "answered non-regular"]
    return Table(number, f"Confusion matrices: {title}", headers, rows)


def performance_table(number: str, title: str, runs: Sequence[Scored], test: Part, rounds: int) -> Table:
    """Figures by method and preset with both intervals; the paper's own below the method it is of."""
    rows: list[list[object]] = []
    lines: list[list[object]] = []
    for one in runs:
        figures = figures_of(one, test, rounds)
        rows.append([f"{one.run.method.title} ({one.run.preset})", *(figures[name] for name in FIGURES)])
        published = PUBLISHED[one.run.method.name].figures() if one.run.method.name in PUBLISHED else {}
        lines += [_line(one, name, figures[name], published.get(name)) for name in FIGURES]
        if published and one.run.preset == "paper":
            rows.append([f"the paper's own, on Peru: {one.run.method.name}", *(published.get(name) for name in FIGURES)])
    headers = ["method", *ESTIMATE, "paper_value", "paper_wilson_low", "paper_wilson_high", "paper_hits", "paper_total"]
    return Table(number, f"Performance: {title}", ["method", *FIGURES], rows, headers, lines)


def _line(one: Scored, name: str, figure: Estimate, paper: Interval | None) -> list[object]:
    p = paper
    published = [p.value, p.low, p.high, p.hits, p.total] if p else [""] * 5
    return [one.run.method.name, one.run.preset, name, *numbers(figure), *published]


def figures_of(one: Scored, test: Part, rounds: int) -> dict[str, Estimate]:
    """FIGURES of one run on the test pictures."""
    said, truth = one.said, test.positive
    kinds = np.array([record.kind.value for record in test.records])
    patients = [record.patient_key for record in test.records]
    everywhere = np.ones(len(said), dtype=bool)
    shares: dict[str, tuple[Bools, Bools]] = {
        "sensitivity": (said, truth), "specificity": (~said, ~truth), "precision": (truth, said), "accuracy": (said == truth, everywhere),
        "green found": (said, kinds == Kind.GREEN_FILTER.value), "faint green found": (said, test.faint),
        "iodine found": (said, kinds == Kind.LUGOL_IODINE.value),
    }  # fmt: skip
    figures = {name: share(hit, of, patients, rounds) for name, (hit, of) in shares.items()}
    figures["F1"] = bootstrapped(lambda rows: f1_score(said[rows], truth[rows]), patients, rounds)
    figures["AUROC"] = bootstrapped(lambda rows: auroc(one.test[rows], truth[rows]), patients, rounds)
    return figures
