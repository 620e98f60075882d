"""A table as cells of text, whatever it was written in. Pure: CSV is read here, workbooks in a limited child (`workbook.py`)."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

MAX_CELLS = 1_000_000
_OUR_OWN_ESCAPE = re.compile(r"'(?=[=+\-@])")


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of cells; the first is the header. `numbers`: columns in which a workbook holds numbers, so that zeros in front are lost.

    `faults`: what could not be read, by (row from 0, column from 0). `first`: the number that a spreadsheet shows at the first row.
    """

    rows: tuple[tuple[str, ...], ...]
    name: str = ""
    first: int = 1
    numbers: frozenset[int] = frozenset()
    faults: Mapping[tuple[int, int], str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grids:
    """The sheets of one file (a CSV has one), or why it cannot be used."""

    sheets: tuple[Grid, ...] = ()
    refused: str = ""


def read_csv(data: bytes) -> Grids:
    """A CSV in UTF-8 (with or without a mark), UTF-16 or Latin-1, with comma, semicolon or tab between the columns."""
    text, notices = _text(data)
    if not text.strip():
        return Grids(refused="The table is empty. Its first row names the columns.")
    if "\0" in text:
        return Grids(refused="This is not a text table. Save the table as CSV (UTF-8) or XLSX and send that.")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    rows: list[tuple[str, ...]] = []
    cells = 0
    try:
        for line in lines:
            rows.append(tuple(_OUR_OWN_ESCAPE.sub("", cell, count=1) for cell in line))
            cells += len(line)
            if cells > MAX_CELLS:
                return Grids(refused=f"The table has more than {MAX_CELLS:,} cells. Send several tables.")
    except csv.Error as error:
        return Grids(refused=f"Row {lines.line_num} of the table cannot be read ({error}). Save it as CSV again.")
    first = next((number for number, row in enumerate(rows) if any(cell.strip() for cell in row)), 0)
    return Grids((Grid(tuple(rows[first:]), first=first + 1, notices=tuple(notices)),))


def _text(data: bytes) -> tuple[str, list[str]]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["The table is not UTF-8; it was read as Latin-1. Check names with accents."]


def _delimiter(text: str) -> str:
    """What makes the most columns of the first lines, and the same number in each."""
    lines = [line for line in text.splitlines()[:20] if line.strip()]

    def evenness(mark: str) -> tuple[float, int]:
        counts = [line.count(mark) for line in lines]
        return (sum(count == counts[0] for count in counts) / len(counts) if counts[0] else 0.0, counts[0])

    return max(",;\t", key=evenness)


def pack(sheets: Grids) -> bytes:
    """For the database. Cells are text, so nothing of the file's own form is kept."""
    said = [
        {**asdict(one), "numbers": sorted(one.numbers), "faults": [[*at, why] for at, why in one.faults.items()]} for one in sheets.sheets
    ]
    return zlib.compress(json.dumps(said).encode(), 6)


def unpack(kept: bytes) -> Grids:
    return Grids(tuple(grid_of(one) for one in json.loads(zlib.decompress(kept))))


def grid_of(said: dict[str, object]) -> Grid:
    """A grid from JSON, as `pack` and the child of `workbook.py` write it."""
    faults = {(row, column): why for row, column, why in said.get("faults", [])}  # type: ignore[attr-defined]
    return Grid(
        rows=tuple(tuple(row) for row in said["rows"]),  # type: ignore[attr-defined]
        name=str(said.get("name", "")),
        first=int(said.get("first", 1)),  # type: ignore[call-overload]
        numbers=frozenset(said.get("numbers", ())),  # type: ignore[call-overload]
        faults=faults,
        notices=tuple(said.get("notices", ())),  # type: ignore[arg-type]
    )
