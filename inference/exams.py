"""Which files belong to one exam, by the table that goes with them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

COLUMNS = ("path", "patient", "exam", "site")


class TableError(ValueError):
    """The table cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Visit:
    """The exam of one file: (site, patient, exam), equal for files that belong together; a number where the file stands alone.

    `device` as the table names it, else its site.
    """

    exam: tuple[str, ...]
    device: str

    @property
    def alone(self) -> bool:
        return len(self.exam) == 1


def read(table: Path) -> list[dict[str, str]]:
    """The rows of a table with the columns path, patient, exam, site, and device where there is one. Raises TableError."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise TableError(f"{table.name} lacks the columns {', '.join(missing)}.")
            return [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in reader]
    except UnicodeDecodeError as error:
        raise TableError(f"{table.name} is not UTF-8 text: save it as CSV UTF-8.") from error


def visits(files: Sequence[Path], rows: Sequence[dict[str, str]], folder: Path) -> list[Visit]:
    """The visit of each file, in order. A file that the table does not name, or names without patient and exam, stands alone.

    A row's path may be absolute, or relative to `folder` (the table's) or to the working directory; else a row is found by the end of the
    file's path, and last by a name that only one row and one file have.
    """
    finder = _Finder(rows, folder, Counter(file.name for file in files))
    return [_visit(finder.row_of(file), number) for number, file in enumerate(files)]


def _visit(row: dict[str, str] | None, number: int) -> Visit:
    """Without an exam, all images of a patient are one."""
    if row is None or not (row["exam"] or row["patient"]):
        return Visit((str(number),), (row.get("device") or row["site"]) if row else "")
    return Visit((row["site"], row["patient"], row["exam"]), row.get("device") or row["site"])


class _Finder:
    def __init__(self, rows: Sequence[dict[str, str]], folder: Path, names: Counter[str]) -> None:
        self.names = names
        self.placed: dict[Path, dict[str, str]] = {}
        self.called: dict[str, list[tuple[tuple[str, ...], dict[str, str]]]] = {}
        for row in rows:
            if not row["path"]:
                continue
            written = row["path"].replace("\\", "/")
            for place in (Path(written), folder / written):
                self.placed.setdefault(place.resolve(), row)
            parts = tuple(part for part in PurePosixPath(written).parts if part not in (".", ".."))
            self.called.setdefault(parts[-1] if parts else "", []).append((parts, row))

    def row_of(self, file: Path) -> dict[str, str] | None:
        whole = file.resolve()
        if (row := self.placed.get(whole)) is not None:
            return row
        namesakes = self.called.get(file.name, [])
        ending = [row for parts, row in namesakes if whole.parts[-len(parts) :] == parts]
        if len(ending) == 1:
            return ending[0]
        return namesakes[0][1] if len(namesakes) == 1 and self.names[file.name] == 1 else None
