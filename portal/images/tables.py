"""The metadata table of an upload: applied before, between or after its files."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction

from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.images import table
from portal.images.models import BESIDE_OTHERS, FileOutcome, Image, ImageState, Upload, UploadFile
from portal.images.placing import place
from portal.jobs import services as jobs

ARRIVED = (FileOutcome.ACCEPTED, FileOutcome.DUPLICATE, FileOutcome.REJECTED)
_NO_FILE = (FileOutcome.EXPECTED, FileOutcome.MISSING, FileOutcome.NOT_USED)
_ROW_FIELDS = ["table_row", "table_error", "patient_code", "exam_code", "device", "stated_kind"]
MAX_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a table: how many rows found their file, how many wait for one, what was wrong and where."""

    rows: int
    matched: int
    waiting: int
    errors: dict[int, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@transaction.atomic
def apply_table(*, upload: Upload, table_bytes: bytes, actor: User) -> Applied:
    """Read the table and match its rows to the upload's files by name. A later table takes the place of an earlier one.

    Raises BadInput where no row can be used at all; every other trouble is said at its row.
    """
    if len(table_bytes) > MAX_BYTES:
        raise BadInput(f"The table has more than {MAX_BYTES // 10**6} MB. Send the images in several uploads, each with its own table.")
    parsed = table.parse(table_bytes)
    if parsed.refused:
        raise BadInput(parsed.refused)
    locked = lock(upload)
    if locked.cancelled:
        raise WrongState("This upload was cancelled. Start a new one.")
    _forget_earlier(locked)
    errors = _apply(locked, parsed)
    waiting = locked.files.filter(outcome__in=[FileOutcome.EXPECTED, FileOutcome.MISSING]).count()
    matched = locked.files.filter(outcome__in=ARRIVED, table_row__isnull=False).count()
    record(
        actor_id=actor.pk, action="upload.table_applied", subject=locked, site_id=locked.site_id,
        rows=len(parsed.rows), matched=matched, waiting=waiting, errors=len(errors),
    )  # fmt: skip
    return Applied(len(parsed.rows), matched, waiting, errors, parsed.notices)


def lock(upload: Upload) -> Upload:
    """The upload's row, held: files and tables of one upload are taken in one after the other."""
    return Upload.objects.select_for_update(no_key=True).get(pk=upload.pk)


def match_left_over(upload: Upload) -> None:
    """At the end of an upload all names are known: rows that still wait may match a file by its name without the folder."""
    waiting = {row.table_row: row for row in upload.files.filter(outcome__in=[FileOutcome.EXPECTED, FileOutcome.MISSING])}
    files = {file.pk: file for file in upload.files.filter(outcome__in=ARRIVED, table_row=None)}
    rows = [table.Row(number, row.name) for number, row in waiting.items() if number]
    pairs, doubts = table.match(rows, {pk: file.name for pk, file in files.items()})
    paired = [_take_over(files[file_id], waiting[number]) for number, file_id in pairs.items()]
    upload.files.filter(pk__in=[waiting[number].pk for number in pairs]).delete()
    UploadFile.objects.bulk_update(paired, _ROW_FIELDS, batch_size=1000)
    for number, doubt in doubts.items():
        upload.files.filter(pk=waiting[number].pk).update(table_error=doubt)
    place_known(paired)


def place_known(files: list[UploadFile]) -> dict[int, str]:
    """Place the images of these files that are past the sanitiser (it places all others). Writes and returns the refusals by row.

    What is analysed already is then judged anew in its exam.
    """
    with_image = {file.image_id: file for file in files if file.image_id}
    images = Image.objects.filter(pk__in=with_image).order_by("pk").select_for_update(of=("self",)).select_related("exam__patient")
    ready = [(image, with_image[image.pk]) for image in images if image.state not in (ImageState.RECEIVED, ImageState.REJECTED)]
    before = {image.pk: (image.exam_id, image.device) for image, _ in ready}
    placed, refused = place(ready)
    moved = [image.pk for image in placed if (image.exam_id, image.device) != before[image.pk] and image.state in BESIDE_OTHERS]
    jobs.put(kind="assess", subject_ids=moved)
    by_id = {file.pk: file for file in files}
    for pk, why in refused.items():
        by_id[pk].table_error = f"{by_id[pk].table_error} {why}".strip()[:400]
    UploadFile.objects.bulk_update([by_id[pk] for pk in refused], ["table_error"])
    return {by_id[pk].table_row or 0: by_id[pk].table_error for pk in refused}


def _forget_earlier(upload: Upload) -> None:
    upload.files.filter(outcome__in=_NO_FILE).delete()
    upload.files.filter(table_row__isnull=False).update(
        table_row=None, table_error="", patient_code="", exam_code="", device="", stated_kind=""
    )


def _apply(upload: Upload, parsed: table.Table) -> dict[int, str]:
    files = {file.pk: file for file in upload.files.filter(outcome__in=ARRIVED)}
    usable = [row for row in parsed.rows if row.usable]
    pairs, doubts = table.match(usable, {pk: file.name for pk, file in files.items()})
    pairs, doubled = _first_of_each(pairs)
    errors = {row.number: row.error for row in parsed.rows if row.error} | doubts | doubled
    paired, rest = [], []
    for row in parsed.rows:
        if row.number in pairs:
            paired.append(_fill(files[pairs[row.number]], row, errors.get(row.number, "")))
        else:
            absent = FileOutcome.MISSING if upload.closed else FileOutcome.EXPECTED
            outcome = absent if row.usable and row.number not in errors.keys() & (doubts.keys() | doubled.keys()) else FileOutcome.NOT_USED
            rest.append(_fill(UploadFile(upload=upload, name=row.file, outcome=outcome), row, errors.get(row.number, "")))
    UploadFile.objects.bulk_update(paired, _ROW_FIELDS, batch_size=1000)
    UploadFile.objects.bulk_create(rest, batch_size=1000)
    return errors | place_known(paired)


def _first_of_each(pairs: dict[int, int]) -> tuple[dict[int, int], dict[int, str]]:
    """Two rows may reach one file (one with the folder, one without): the first counts."""
    taken: dict[int, int] = {}
    for number, file_id in pairs.items():
        taken.setdefault(file_id, number)
    kept = {number: file_id for number, file_id in pairs.items() if taken[file_id] == number}
    return kept, {n: f"Row {taken[f]} already names this file; this row was not used." for n, f in pairs.items() if n not in kept}


def _fill(file: UploadFile, row: table.Row, error: str) -> UploadFile:
    file.table_row, file.table_error = row.number, error[:400]
    file.patient_code, file.exam_code = row.patient, row.exam if row.patient else ""
    file.device, file.stated_kind = row.device, row.stated_kind
    return file


def _take_over(file: UploadFile, row: UploadFile) -> UploadFile:
    for name in _ROW_FIELDS:
        setattr(file, name, getattr(row, name))
    return file
