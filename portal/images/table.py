"""The metadata table, from cells to rows. Pure and tolerant: what cannot be used is said at its cell, and all other rows go through."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from portal.images import wording
from portal.images.grids import Grid
from portal.images.wording import NOT_READ, Words
from portal.ml import Kind

MAX_ROWS = 100_000
EARLIEST = date(1990, 1, 1)
_LIMITS = {"file": 255, "patient": 80, "exam": 80, "device": 120}
_CODES = ("patient", "exam")
_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?")
_DATE_DOTTED = re.compile(r"(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})(?:[T ].*)?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong cell: its place in the row (from 0; -1 for the whole row), and what to do."""

    column: int
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number` as a spreadsheet shows it. `faults` say what of it was not used; `usable` whether any was."""

    number: int
    file: str = ""
    image: int | None = None
    patient: str = ""
    exam: str = ""
    device: str = ""
    stated_kind: str = ""
    captured: date | None = None
    faults: tuple[Fault, ...] = ()
    usable: bool = True

    @property
    def error(self) -> str:
        return " ".join(fault.message for fault in self.faults)


@dataclass(frozen=True, slots=True)
class Head:
    """One column as the table names it; `ours` is our name, NOT_READ, or None where somebody must say."""

    name: str
    ours: str | None
    guess: str = NOT_READ


@dataclass(frozen=True, slots=True)
class Unknown:
    """A word of the table that nobody knows here, in how many rows it stands, and what it may mean."""

    word: str
    rows: int
    guess: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in order, and what holds for the table as a whole. With `refused` there are no rows."""

    rows: tuple[Row, ...] = ()
    notices: tuple[str, ...] = ()
    refused: str = ""
    heads: tuple[Head, ...] = ()
    kinds: tuple[Unknown, ...] = ()
    devices: tuple[Unknown, ...] = ()


def heads(grid: Grid, words: Words) -> tuple[Head, ...]:
    """What each column of the first row is."""
    names = [_clean(cell) for cell in grid.rows[0]] if grid.rows else []
    known = [wording.column(name, words, names) for name in names]
    taken = [ours for ours in known if ours]
    found = []
    for name, ours in zip(names, known, strict=True):
        guess = wording.guess_column(name, taken) if name and ours is None else NOT_READ
        taken += [guess] if guess else []
        found.append(Head(name, ours, guess))
    return tuple(found)


def read(grid: Grid, words: Words = Words(), *, today: date | None = None) -> Table:
    """The rows of one sheet. Refused where no row can be matched to an image."""
    columns = heads(grid, words)
    ours = [head.ours for head in columns]
    if "file" not in ours and "image" not in ours:
        seen = ", ".join(head.name or "(no name)" for head in columns[:12])
        return Table(
            refused=f"The column 'file' is missing: without it no row can be matched. The columns found are: {seen}.", heads=columns
        )
    lines = [(grid.first + n, n, cells) for n, cells in enumerate(grid.rows) if n and any(cell.strip() for cell in cells)]
    reader = _Reader(ours, words, grid.faults, today)
    rows = tuple(_unique([reader.row(*line) for line in lines[:MAX_ROWS]]))
    kinds = [Unknown(word, n, wording.guess_kind(word)) for word, n in reader.kinds.most_common(50)]
    return Table(
        rows,
        (*grid.notices, *_about_columns(columns, len(lines)), *_about_zeros(grid, ours)),
        "",
        columns,
        tuple(kinds),
        reader.new_devices(),
    )


def _about_columns(columns: Sequence[Head], rows: int) -> list[str]:
    header = [head.ours for head in columns]
    notices = []
    if "patient" not in header:
        notices.append("The column 'patient' is missing: the images are analysed, but kept out of data sets until they have a patient.")
    if doubled := sorted({name for name in header if name and header.count(name) > 1}):
        notices.append(f"The column '{doubled[0]}' comes more than once; the first was used.")
    if missing := [name for name in ("exam", "device", "stated_kind") if name not in header]:
        notices.append("Not in the table, and not needed: " + ", ".join(missing) + ".")
    if unknown := [head.name for head in columns if head.name and not head.ours]:
        notices.append("Columns that were not used: " + ", ".join(unknown[:12]) + ".")
    if rows > MAX_ROWS:
        notices.append(f"Only the first {MAX_ROWS} of {rows} rows were read. Send several uploads.")
    return notices


def _about_zeros(grid: Grid, ours: Sequence[str | None]) -> list[str]:
    codes = [grid.rows[0][n] for n, name in enumerate(ours) if name in _CODES and n in grid.numbers]
    if not codes:
        return []
    return [f"'{codes[0][:40]}' holds numbers: zeros in front, which a spreadsheet only shows, are not part of them. Write codes as text."]


@dataclass(slots=True)
class _Reader:
    """Reads the rows of one table; remembers the words that nobody knows."""

    ours: Sequence[str | None]
    words: Words
    faults: Mapping[tuple[int, int], str]
    today: date | None
    kinds: Counter[str] = field(default_factory=Counter)
    devices: Counter[str] = field(default_factory=Counter)

    def row(self, number: int, index: int, cells: Sequence[str]) -> Row:
        values, at = self._values(cells)
        said = [Fault(column, self.faults[index, column]) for column in at.values() if (index, column) in self.faults]
        for fault in said:
            values[next(name for name, column in at.items() if column == fault.column)] = ""
        image, image_fault = _number(values.get("image", ""))
        if not values.get("file") and image is None:
            whole = [*said, *_at(at, "image", image_fault)]
            return Row(number, faults=tuple(whole or [Fault(at.get("file", -1), "The row names no file.")]), usable=False)
        for name, limit in _LIMITS.items():
            said += _at(at, name, _cut(values, name, limit))
        captured, day_fault = _day(values.get("captured", ""), self.today)
        kind, kind_fault = self._kind(values.get("stated_kind", ""))
        said += [*_at(at, "image", image_fault), *_at(at, "captured", day_fault), *_at(at, "stated_kind", kind_fault)]
        if len(cells) > len(self.ours) and any(cell.strip() for cell in cells[len(self.ours) :]):
            said.append(Fault(-1, "The row has more cells than the header."))
        if values.get("exam") and not values.get("patient"):
            said.append(Fault(at["exam"], "The row names an exam but no patient, so the exam was not used."))
            values["exam"] = ""
        file, patient, exam, device = (values.get(name, "") for name in ("file", "patient", "exam", "device"))
        return Row(number, file, image, patient, exam, self._device(device), kind, captured, tuple(said))

    def _values(self, cells: Sequence[str]) -> tuple[dict[str, str], dict[str, int]]:
        values: dict[str, str] = {}
        at: dict[str, int] = {}
        for n, (name, cell) in enumerate(zip(self.ours, cells, strict=False)):
            if name and name not in values:
                values[name], at[name] = _clean(cell), n
        return values, at

    def _kind(self, word: str) -> tuple[str, str]:
        found = wording.kind(word, self.words) if word else ""
        if found is not None:
            return found, ""
        self.kinds[word[:120]] += 1
        return "", f"The kind '{word[:40]}' is not known and was not used; known are {', '.join(Kind)}."

    def _device(self, word: str) -> str:
        found = wording.device(word, self.words) if word else ""
        if word and wording.key(word) not in self.words.devices and found not in self.words.known_devices:
            self.devices[found] += 1
        return found

    def new_devices(self) -> tuple[Unknown, ...]:
        known = self.words.known_devices
        return tuple(Unknown(word, n, wording.guess_device(word, known)) for word, n in self.devices.most_common(50))


def _at(at: Mapping[str, int], name: str, message: str) -> list[Fault]:
    return [Fault(at.get(name, -1), message)] if message else []


def _clean(cell: str) -> str:
    """One line; hidden characters inside a word are taken out, other unprintable ones stand for a space."""
    shown = (c if c.isprintable() else "" if unicodedata.category(c) == "Cf" else " " for c in cell)
    return " ".join("".join(shown).split())


def _cut(values: dict[str, str], name: str, limit: int) -> str:
    """A code that is too long is not shortened (two patients would become one): it is not used."""
    if len(values.get(name, "")) <= limit:
        return ""
    values[name] = values[name][-limit:] if name == "file" else ""
    return f"The {name} has more than {limit} characters and was not used."


def _number(text: str) -> tuple[int | None, str]:
    if not text:
        return None, ""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text), ""
    return None, f"'{text[:40]}' is no image number. Write the number that the image's page shows, or leave the cell empty."


def _day(text: str, today: date | None) -> tuple[date | None, str]:
    if not text:
        return None, ""
    how = "Write it as year-month-day, for instance 2026-03-09."
    if match := _DATE.fullmatch(text):
        parts = match[1], match[2], match[3]
    elif match := _DATE_DOTTED.fullmatch(text):
        parts = match[3], match[2], match[1]
    else:
        return None, f"The day '{text[:40]}' cannot be read and was not used. {how}"
    try:
        day = date(*map(int, parts))
    except ValueError:
        return None, f"There is no day '{text[:40]}'; it was not used. {how}"
    if day < EARLIEST or (today and day > today):
        return None, f"The day {day.isoformat()} is not between {EARLIEST.year} and today; it was not used. {how}"
    return day, ""


def _unique(rows: Sequence[Row]) -> list[Row]:
    """The first row of a file counts; a second one is refused at its place."""
    first: dict[str | int, int] = {}
    kept = []
    for row in rows:
        before = first.setdefault(row.image or key(row.file), row.number) if row.usable else row.number
        doubled = Fault(-1, f"Row {before} already names this file; this row was not used.")
        kept.append(row if before == row.number else replace(row, faults=(doubled,), usable=False))
    return kept


def key(name: str) -> str:
    """What two spellings of one file name have in common."""
    return unicodedata.normalize("NFC", name).replace("\\", "/").removeprefix("./").casefold()


def match(rows: Sequence[Row], names: Mapping[int, str]) -> tuple[dict[int, int], dict[int, str]]:
    """Pair rows with files by name: the full name, else the name without its folder where that is one file's alone.

    `names` maps a file's id to its name. Returns row number -> file id, and row number -> why it could not be decided.
    """
    whole: dict[str, list[int]] = {}
    short: dict[str, list[int]] = {}
    for file_id, name in names.items():
        whole.setdefault(key(name), []).append(file_id)
        short.setdefault(key(name).rpartition("/")[2], []).append(file_id)
    pairs: dict[int, int] = {}
    doubts: dict[int, str] = {}
    for row in rows:
        found = whole.get(key(row.file)) or short.get(key(row.file).rpartition("/")[2], [])
        if len(found) == 1:
            pairs[row.number] = found[0]
        elif found:
            doubts[row.number] = f"{len(found)} files are called so; write the folder into the table too."
    return pairs, doubts
