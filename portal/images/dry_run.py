"""What a table would do, before anything is written: as it would be read, what is wrong in which cell, what would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q
from django.db.models.functions import Upper
from django.utils import timezone

from portal.accounts.models import Site
from portal.core.text import counted
from portal.images import matching, table
from portal.images.grids import Grid
from portal.images.matching import Matched
from portal.images.models import Exam, FileOutcome, Image, MetadataTable, Patient, UploadFile
from portal.images.patients import here
from portal.images.placing import Plan, merged_codes
from portal.images.table import Head, Row, Table
from portal.images.tables import digest, merged_notices, opened, planned, sheet_of
from portal.images.wording import NOT_READ
from portal.images.wordings import words_of

FIRST = 10
MOST_FAULTS = 100
MOST_CHANGES = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as it would be read; `was` where the table says it in other words. `at` as a spreadsheet names it."""

    at: str
    text: str
    was: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    cells: Sequence[Cell]
    whole: str = ""
    """What is wrong with the row as a whole."""

    @property
    def faulty(self) -> bool:
        return bool(self.whole) or any(cell.fault for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is said of an image and would be said otherwise."""

    row: int | None
    file: str
    image: int
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class DryRun:
    held: MetadataTable
    sheets: Sequence[str]
    sheet: str
    parsed: Table
    lines: Sequence[Line]
    """The first rows, then every further row with a fault, up to MOST_FAULTS."""
    faults: int
    """Rows with anything wrong."""
    matched: int
    waiting: int
    unused: int
    new_patients: int
    new_exams: int
    placed: int
    """Images that get a patient, exam, device, kind or day where there was none."""
    corrected: int
    changes: Sequence[Change]
    notices: Sequence[str]
    digest: str

    @property
    def refused(self) -> str:
        return self.parsed.refused

    @property
    def asks(self) -> bool:
        """Whether there is a column or a word that nobody knows."""
        return bool(self.unknown_columns or self.parsed.kinds or self.parsed.devices)

    @property
    def shown_heads(self) -> list[Head]:
        """The columns of `lines`: all but those that the site does not want read."""
        return [head for head in self.parsed.heads if head.ours != NOT_READ]

    @property
    def unknown_columns(self) -> list[Head]:
        return [head for head in self.parsed.heads if head.name and head.ours is None]


def dry_run(held: MetadataTable) -> DryRun:
    """Read a held table against what is here now. Writes nothing; a fixed number of statements. Raises WrongState."""
    grids = opened(held)
    grid = sheet_of(held, grids)
    parsed = table.read(grid, words_of(held.site), today=timezone.localdate())
    if parsed.refused:
        found, wanted = Matched(), Plan()
    else:
        found = matching.in_upload(held.upload, parsed) if held.upload else matching.of_site(held.site, parsed)
        wanted = planned(found, _images(found), may_move=True)
    patients, exams, alike = _new(held.site, found, wanted)
    outcomes = [file.outcome for file in found.rest]
    return DryRun(
        held=held,
        sheets=[one.name for one in grids.sheets],
        sheet=grid.name,
        parsed=parsed,
        lines=_lines(grid, parsed, found),
        faults=len(found.faults),
        matched=len(found.filled),
        waiting=sum(_waits(file) for file in found.rest),
        unused=outcomes.count(FileOutcome.NOT_USED),
        new_patients=patients,
        new_exams=exams,
        placed=sum(not one.corrects for one in wanted.changing),
        corrected=len(wanted.corrections),
        changes=_changes(wanted),
        notices=[*parsed.notices, *merged_notices(wanted), *alike, *_forgotten(held, found)],
        digest=digest(wanted),
    )


def _images(found: Matched) -> dict[int, Image]:
    rows = Image.objects.filter(pk__in={file.image_id for file in found.filled if file.image_id})
    return {image.pk: image for image in rows.select_related("exam__patient")}


def _changes(wanted: Plan) -> list[Change]:
    return [
        Change(one.row.table_row if one.row else None, one.image.original_name, one.image.pk, what, _said(old), _said(new))
        for one in wanted.corrections
        for what, (old, new) in one.corrects.items()
    ][:MOST_CHANGES]


def _said(value: object) -> str:
    return value.strftime("%Y-%m-%d") if hasattr(value, "strftime") else str(value)


def _new(site: Site, found: Matched, wanted: Plan) -> tuple[int, int, list[str]]:
    """How many patients and exams would be made, and which new patients look like ones that are here."""
    coming = [(file.patient_code, file.exam_code) for file in found.rest if _waits(file)] + [
        (file.patient_code, file.exam_code) for file in found.filled if file.image_id
    ]
    codes = {patient for patient, _ in coming if patient}
    merged = merged_codes(site.pk, codes)
    codes = {merged.get(code, code) for code in codes}
    known = set(here(Patient.objects.filter(site=site, code__in=codes)).values_list("code", flat=True))
    visits = {(merged.get(patient, patient), exam) for patient, exam in coming if patient and exam}
    visits |= {(one.then.patient, one.then.exam) for one in wanted.changing if one.then.exam}
    visited = set(Exam.objects.filter(patient__site=site, patient__code__in=codes & known).values_list("patient__code", "code"))
    return len(codes - known), len(visits - visited), _alike(site, codes - known)


def _waits(file: UploadFile) -> bool:
    return file.outcome in (FileOutcome.EXPECTED, FileOutcome.MISSING)


def _alike(site: Site, new: set[str]) -> list[str]:
    """'p-1' beside 'P-1' is mostly one patient, and a table does not say so."""
    if not new:
        return []
    rows = here(Patient.objects.filter(site=site)).annotate(upper=Upper("code")).filter(upper__in=[code.upper() for code in new])
    known = {row.code.upper(): row.code for row in rows}
    pairs = sorted((code, known[code.upper()]) for code in new if code.upper() in known)
    return [
        f"The new patient '{code}' differs from '{old}', who is here, in capitals alone. Write it the same if it is one person."
        for code, old in pairs[:20]
    ]


def _forgotten(held: MetadataTable, found: Matched) -> list[str]:
    """An upload's later table takes the place of the earlier one."""
    if not held.upload:
        return []
    named = {table.key(file.name) for file in (*found.rest, *found.filled)}
    waiting = held.upload.files.filter(Q(outcome=FileOutcome.EXPECTED) | Q(outcome=FileOutcome.MISSING)).values_list("name", flat=True)
    lost = sum(table.key(name) not in named for name in waiting)
    said = f"Forgotten, as not in this table: {counted(lost, 'row')} of the earlier one without a file so far."
    return [said] if lost else []


# ---- the table as it would be read ------------------------------------------------------------------------------------


def _lines(grid: Grid, parsed: Table, found: Matched) -> list[Line]:
    faulty = [row for row in parsed.rows[FIRST:] if row.number in found.faults][:MOST_FAULTS]
    return [_line(grid, parsed.heads, row, found) for row in (*parsed.rows[:FIRST], *faulty)]


def _line(grid: Grid, heads: Sequence[Head], row: Row, found: Matched) -> Line:
    cells = grid.rows[row.number - grid.first]
    by_column: dict[int, list[str]] = {}
    for fault in found.faults.get(row.number, []):
        by_column.setdefault(fault.column if 0 <= fault.column < len(heads) else -1, []).append(fault.message)
    shown = [
        _cell(f"{letters(n)}{row.number}", head, cells[n] if n < len(cells) else "", row, " ".join(by_column.get(n, [])))
        for n, head in enumerate(heads)
        if head.ours != NOT_READ
    ]
    return Line(row.number, shown, " ".join(by_column.get(-1, [])))


def _cell(at: str, head: Head, written: str, row: Row, fault: str) -> Cell:
    written = " ".join(written.split())[:120]
    becomes = str(getattr(row, head.ours) or "") if head.ours and not fault else ""
    becomes = becomes or written
    return Cell(at, becomes, written if becomes != written else "", fault)


def letters(column: int) -> str:
    """A column as spreadsheets name it: A, B, ..., AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(65 + rest) + name
    return name
