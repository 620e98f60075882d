"""Counts as tables whose cells are shaded by size, and as data for charts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.datasets.splits import SPLITS
from portal.ml import Kind

SHADES = 9


@dataclass(frozen=True, slots=True)
class Cell:
    images: int
    patients: int | None
    shade: int
    """0 (nothing) to SHADES (the largest of the table)."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def shade(value: int, largest: int) -> int:
    """Every count above nothing is tinted; the square root keeps small ones apart."""
    return 0 if value <= 0 or largest <= 0 else max(1, round(SHADES * float(value / largest) ** 0.5))


def composition(counts: Mapping[str, Any]) -> list[Table]:
    """The tables of a data set (Tables 1 to 4 of the paper): kinds and sites by split, sites by kind, provenances."""
    if not counts.get("cells"):
        return []
    found = [
        _crossed("Kind by split", counts["cells"], "kind", "split", SPLITS),
        _crossed("Site by split", counts["site_split"], "site", "split", SPLITS),
        _crossed("Site by kind", counts["cells"], "site", "kind", [k.value for k in Kind]),
    ]
    provenance = {name: (value["images"], value["patients"]) for name, value in counts["by_provenance"].items()}
    return [*found, _table("Provenance of the labels", ("images",), {name: {"images": pair} for name, pair in provenance.items()})]


def _crossed(title: str, cells: Sequence[Mapping[str, Any]], rows: str, columns: str, order: Sequence[str]) -> Table:
    sums: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for cell in cells:
        images, patients = sums[cell[rows]].get(cell[columns], (0, 0))
        sums[cell[rows]][cell[columns]] = (images + cell["images"], patients + cell["patients"])
    present = {column for row in sums.values() for column in row}
    return _table(title, tuple(name for name in order if name in present or order == SPLITS), sums)


def _table(title: str, columns: tuple[str, ...], sums: Mapping[str, Mapping[str, tuple[int, int]]]) -> Table:
    largest = max((pair[0] for row in sums.values() for pair in row.values()), default=0)
    rows = tuple((name, tuple(_cell(row.get(column, (0, 0)), largest) for column in columns)) for name, row in sums.items())
    return Table(title, columns, rows)


def _cell(pair: tuple[int, int], largest: int) -> Cell:
    return Cell(images=pair[0], patients=pair[1], shade=shade(pair[0], largest))


def composition_chart(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Images as bars by split and site, stacked by kind."""
    cells = counts.get("cells", [])
    bars = sorted({(SPLITS.index(cell["split"]), cell["site"]) for cell in cells})
    number = {(SPLITS.index(cell["split"]), cell["site"], cell["kind"]): cell["images"] for cell in cells}
    kinds = [kind.value for kind in Kind if any(cell["kind"] == kind.value for cell in cells)]
    return {
        "type": "stacked",
        "labels": [[SPLITS[split], site] for split, site in bars],
        "series": [{"name": kind, "values": [number.get((split, site, kind), 0) for split, site in bars]} for kind in kinds],
    }


def confusion(kinds: Sequence[str], rows: Sequence[Sequence[int]]) -> Table:
    """Truth in rows, answer in columns; shaded within a row, as the kinds are of different size.

    A last column, of any other answer, is shown where it is not empty; reports of old have none.
    """
    other = any(count for row in rows for count in row[len(kinds) :])
    columns = (*kinds, "something_else") if other else tuple(kinds)
    rows = [row[: len(columns)] for row in rows]
    shaded = tuple(
        (kind, tuple(Cell(images=count, patients=None, shade=shade(count, sum(row))) for count in row))
        for kind, row in zip(kinds, rows, strict=True)
    )
    return Table("Confusion matrix", columns, shaded)
