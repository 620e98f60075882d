"""The metadata table, from bytes to rows. Pure and tolerant: what cannot be used is said at its row, and all other rows go through."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from portal.ml import Kind

COLUMNS = ("file", "patient", "exam", "device", "stated_kind")
MAX_ROWS = 100_000
_LIMITS = {"file": 255, "patient": 80, "exam": 80, "device": 120}
_ALIASES = {
    "filename": "file", "file_name": "file", "image": "file", "path": "file", "name": "file",
    "patient_id": "patient", "patient_code": "patient", "subject": "patient",
    "exam_id": "exam", "exam_code": "exam", "visit": "exam", "camera": "device", "kind": "stated_kind",
}  # fmt: skip
_KIND_ALIASES = {"green": "green_filter", "lugol": "lugol_iodine", "iodine": "lugol_iodine", "white_light": "regular"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `number` as a spreadsheet shows it (the header is 1). `error` says what of it was not used; `usable` whether any was."""

    number: int
    file: str = ""
    patient: str = ""
    exam: str = ""
    device: str = ""
    stated_kind: str = ""
    error: str = ""
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows in order, and what holds for the table as a whole. With `refused` there are no rows."""

    rows: tuple[Row, ...] = ()
    notices: tuple[str, ...] = ()
    refused: str = ""


def parse(data: bytes) -> Table:
    """Read a CSV in UTF-8 (with or without a mark), UTF-16 or Latin-1, with comma, semicolon or tab between the columns."""
    if data[:4] == b"PK\x03\x04" or data[:4] == b"\xd0\xcf\x11\xe0":
        return Table(refused="This is a spreadsheet file. Save the table as CSV (UTF-8) and send that.")
    text, notices = _text(data)
    if not text.strip():
        return Table(refused="The table is empty. Its first row names the columns: " + ", ".join(COLUMNS) + ".")
    if "\0" in text:
        return Table(refused="This is not a text table. Save the table as CSV (UTF-8) and send that.")
    return _read(text, notices)


def _text(data: bytes) -> tuple[str, list[str]]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["The table is not UTF-8; it was read as Latin-1. Check names with accents."]


def _read(text: str, notices: list[str]) -> Table:
    header_line = text.splitlines()[0]
    delimiter = max(",;\t", key=lambda d: sum(column in COLUMNS for column in _header(header_line.split(d))))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = _header(next(lines))
        if "file" not in header:
            seen = ", ".join(name or "(no name)" for name in header[:12])
            return Table(refused=f"The column 'file' is missing: without it no row can be matched. The columns found are: {seen}.")
        rows = [_row(number, header, cells) for number, cells in enumerate(lines, 2) if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        return Table(refused=f"Row {lines.line_num} of the table cannot be read ({error}). Save it as CSV again.")
    return Table(tuple(_unique(rows[:MAX_ROWS])), tuple(notices + _about_columns(header, len(rows))))


def _header(cells: Iterable[str]) -> list[str]:
    names = [re.sub(r"[\s\-]+", "_", cell.strip().strip('"').lower()) for cell in cells]
    return [name if name in COLUMNS else _ALIASES.get(name, name) for name in names]


def _about_columns(header: Sequence[str], rows: int) -> list[str]:
    notices = []
    if "patient" not in header:
        notices.append("The column 'patient' is missing: the images are analysed, but kept out of data sets until they have a patient.")
    if doubled := sorted({name for name in header if name in COLUMNS and header.count(name) > 1}):
        notices.append(f"The column '{doubled[0]}' comes more than once; the first was used.")
    if missing := [name for name in COLUMNS[2:] if name not in header]:
        notices.append("Not in the table, and not needed: " + ", ".join(missing) + ".")
    if unknown := [name for name in header if name and name not in COLUMNS]:
        notices.append("Columns that were not used: " + ", ".join(unknown[:12]) + ".")
    if rows > MAX_ROWS:
        notices.append(f"Only the first {MAX_ROWS} of {rows} rows were read. Send several uploads.")
    return notices


def _row(number: int, header: Sequence[str], cells: Sequence[str]) -> Row:
    values: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=False):
        if name in COLUMNS:
            values.setdefault(name, " ".join("".join(c if c.isprintable() else " " for c in cell).split()))
    if not values.get("file"):
        return Row(number, error="The row names no file.", usable=False)
    errors = [_cut(values, name, limit) for name, limit in _LIMITS.items()]
    values["stated_kind"], kind_error = _kind(values.get("stated_kind", ""))
    if len(cells) > len(header):
        errors.append("The row has more cells than the header.")
    if values.get("exam") and not values.get("patient"):
        errors.append("The row names an exam but no patient, so the exam was not used.")
    file, patient, exam, device, kind = (values.get(name, "") for name in COLUMNS)
    return Row(number, file, patient, exam, device, kind, error=" ".join(e for e in [*errors, kind_error] if e))


def _cut(values: dict[str, str], name: str, limit: int) -> str:
    """A code that is too long is not shortened (two patients would become one): it is not used."""
    if len(values.get(name, "")) <= limit:
        return ""
    values[name] = values[name][-limit:] if name == "file" else ""
    return f"The {name} has more than {limit} characters and was not used."


def _kind(word: str) -> tuple[str, str]:
    plain = re.sub(r"[\s\-]+", "_", word.lower())
    plain = _KIND_ALIASES.get(plain, plain)
    if not plain or plain in list(Kind):
        return plain, ""
    return "", f"The kind '{word[:40]}' is not known and was not used; known are {', '.join(Kind)}."


def _unique(rows: Iterable[Row]) -> list[Row]:
    """The first row of a file counts; a second one is refused at its place."""
    first: dict[str, int] = {}
    kept = []
    for row in rows:
        before = first.setdefault(key(row.file), row.number) if row.usable else row.number
        doubled = f"Row {before} already names this file; this row was not used."
        kept.append(row if before == row.number else replace(row, error=doubled, usable=False))
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
