"""Rows of a table and the files they speak of: within one upload, or over all that a site has sent. Reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

from portal.accounts.models import Site
from portal.images import table
from portal.images.models import FileOutcome, Upload, UploadFile
from portal.images.table import Fault, Row, Table

ARRIVED = (FileOutcome.ACCEPTED, FileOutcome.DUPLICATE, FileOutcome.REJECTED)
NO_FILE = (FileOutcome.EXPECTED, FileOutcome.MISSING, FileOutcome.NOT_USED)
SAID = ("patient_code", "exam_code", "device", "stated_kind", "captured")
ROW_FIELDS = ("table", "table_row", "table_error", *SAID)
"""What a file's row keeps of its row in the table."""
_NOT_HERE = "There is no image {number} here. Write the number that the image's page shows, or the file's name."
_NO_SUCH_FILE = "No image of this site has this file's name. Write it as it was sent, or send the image."


@dataclass(slots=True)
class Matched:
    """Rows that found their file, as that file's row will be; rows without a file; and what is wrong, by number of the row."""

    filled: list[UploadFile] = field(default_factory=list)
    rest: list[UploadFile] = field(default_factory=list)
    before: dict[int, UploadFile] = field(default_factory=dict)
    """The rows of `filled` as they are now, by key."""
    faults: dict[int, list[Fault]] = field(default_factory=dict)

    @property
    def errors(self) -> dict[int, str]:
        return {number: " ".join(fault.message for fault in faults) for number, faults in sorted(self.faults.items())}

    def refuse(self, number: int, message: str, column: int = -1) -> None:
        self.faults.setdefault(number, []).append(Fault(column, message))


def in_upload(upload: Upload, parsed: Table) -> Matched:
    """The rows against the files of one upload; one without a file waits for it. One statement."""
    files = {file.pk: file for file in upload.files.filter(outcome__in=ARRIVED)}
    found, doubtful = _pair(parsed, {pk: file.name for pk, file in files.items()}, {f.image_id: f.pk for f in files.values() if f.image_id})
    absent = FileOutcome.MISSING if upload.closed else FileOutcome.EXPECTED
    return _result(parsed, found, doubtful, files, upload, absent)


def of_site(site: Site, parsed: Table) -> Matched:
    """The rows against all images of a site, by number or by the name under which a file was ever sent. Two statements."""
    arrivals = UploadFile.objects.filter(upload__site=site, outcome__in=ARRIVED, image__isnull=False)
    ids = [row.image for row in parsed.rows if row.image]
    numbered = dict(arrivals.filter(image__in=ids).order_by("pk").values_list("image", "pk")) if ids else {}
    names = _one_an_image(_named(arrivals.order_by("pk").values_list("pk", "name", "image").iterator(chunk_size=5000), parsed.rows))
    found, doubtful = _pair(parsed, names, numbered)
    files = {file.pk: file for file in UploadFile.objects.filter(pk__in=set(found.values()))}
    for row in parsed.rows:
        if row.usable and row.number not in found and row.number not in doubtful:
            doubtful[row.number] = _NO_SUCH_FILE
    return _result(parsed, found, doubtful, files, None, FileOutcome.NOT_USED)


def _named(arrivals: Iterable[tuple[int, str, int]], rows: Sequence[Row]) -> Iterator[tuple[int, str, int]]:
    """Of all that a site ever sent, what these rows may mean."""
    wanted = {table.key(row.file).rpartition("/")[2] for row in rows if row.file}
    return (arrival for arrival in arrivals if table.key(arrival[1]).rpartition("/")[2] in wanted)


def _one_an_image(arrivals: Iterable[tuple[int, str, int]]) -> dict[int, str]:
    """An image that was sent twice under one name is one answer."""
    seen: dict[tuple[str, int], int] = {}
    names: dict[int, str] = {}
    for pk, name, image in arrivals:
        if (table.key(name), image) not in seen:
            seen[table.key(name), image] = pk
            names[pk] = name
    return names


def _pair(parsed: Table, names: Mapping[int, str], numbered: Mapping[int, int]) -> tuple[dict[int, int], dict[int, str]]:
    """Row number -> file id, and row number -> why not."""
    usable = [row for row in parsed.rows if row.usable]
    pairs, doubts = table.match([row for row in usable if row.image is None], names)
    for row in usable:
        if row.image is not None and row.image in numbered:
            pairs[row.number] = numbered[row.image]
        elif row.image is not None:
            doubts[row.number] = _NOT_HERE.format(number=row.image)
    kept, doubled = _first_of_each(pairs)
    return kept, doubts | doubled


def _first_of_each(pairs: Mapping[int, int]) -> tuple[dict[int, int], dict[int, str]]:
    """Two rows may reach one file (one with the folder, one without): the first counts."""
    taken: dict[int, int] = {}
    for number, file_id in sorted(pairs.items()):
        taken.setdefault(file_id, number)
    kept = {number: file_id for number, file_id in pairs.items() if taken[file_id] == number}
    return kept, {n: f"Row {taken[f]} already names this file; this row was not used." for n, f in pairs.items() if n not in kept}


def _result(
    parsed: Table, found: Mapping[int, int], doubtful: Mapping[int, str], files: Mapping[int, UploadFile], upload: Upload | None,
    absent: FileOutcome,
) -> Matched:  # fmt: skip
    said = Matched(faults={row.number: list(row.faults) for row in parsed.rows if row.faults})
    column = next((n for n, head in enumerate(parsed.heads) if head.ours in ("file", "image")), -1)
    for number, why in doubtful.items():
        said.refuse(number, why, column)
    errors = said.errors
    for row in parsed.rows:
        if row.number in found:
            file = files[found[row.number]]
            said.before[file.pk] = file
            said.filled.append(fill(copy(file), row, errors.get(row.number, "")))
        else:
            outcome = absent if row.usable and row.number not in doubtful else FileOutcome.NOT_USED
            said.rest.append(fill(UploadFile(upload=upload, name=row.file, outcome=outcome), row, errors.get(row.number, "")))
    return said


def fill(file: UploadFile, row: Row, error: str) -> UploadFile:
    file.table_row, file.table_error = row.number, error[:400]
    file.patient_code, file.exam_code = row.patient, row.exam if row.patient else ""
    file.device, file.stated_kind, file.captured = row.device, row.stated_kind, row.captured
    return file


def said(file: UploadFile) -> tuple[object, ...]:
    return tuple(getattr(file, name) for name in SAID)


def whole(file: UploadFile) -> tuple[object, ...]:
    """All that a file's row says of its row in the table, wherever that table came from."""
    return (file.table_row, file.name, file.outcome, file.table_error, *said(file))
