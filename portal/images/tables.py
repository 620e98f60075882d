"""The metadata table of an upload, or of the images a site has sent: looked at first, or applied as it comes.

Before, between or after the files of its upload; a later table takes the place of an earlier one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from django.db import transaction
from django.db.models import Count
from django.db.models.functions import Now
from django.utils import timezone

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.core.statements import insert_rows, update_rows
from portal.images import matching, table, table_jobs
from portal.images.corrections import Told, follow, nobody
from portal.images.grids import Grid, Grids, pack, unpack
from portal.images.locks import lock
from portal.images.matching import ARRIVED, NO_FILE, ROW_FIELDS, Matched
from portal.images.models import FileOutcome, Image, ImageState, MetadataTable, Upload, UploadFile
from portal.images.placing import Plan, plan
from portal.images.wordings import words_of
from portal.images.workbook import open_table

MAX_BYTES = 20_000_000
_CANCELLED = "This upload was cancelled. Start a new one."
CHANGED_SINCE = "What this table changes is no longer what you saw: somebody else changed the same images. Look at it again."


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a table: how many rows found their file, how many wait for one, what was wrong and where."""

    rows: int
    matched: int
    waiting: int
    errors: dict[int, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    placed: int = 0
    """Images that are here and of which something is now said, or said otherwise."""
    versions: int = 0
    """Those of which something was said before."""
    unchanged: bool = False
    """The portal knew all of this already: nothing was written."""

    @property
    def counts(self) -> dict[str, int | bool]:
        """All of it in numbers, without a word of the table."""
        numbers = {name: value for name, value in asdict(self).items() if name != "notices"}
        return {**numbers, "errors": len(self.errors)}


# ---- a table that is looked at first ----------------------------------------------------------------------------------


@transaction.atomic
def hold_table(*, site: Site, upload: Upload | None, data: bytes, name: str, actor: User) -> MetadataTable:
    """Keep a table until it is applied or given up, in place of those that the same person held before and that nobody is at. Raises
    BadInput where it cannot be read at all; says nothing of its rows."""
    access.require(actor, "correct", site=site.pk)
    if upload and upload.cancelled:
        raise WrongState(_CANCELLED)
    grids = _open(data)
    earlier = MetadataTable.objects.filter(site=site, upload=upload, created_by=actor, applied=None).exclude(cells=b"")
    MetadataTable.objects.filter(pk__in=table_jobs.take_idle(earlier)).update(cells=b"", refused="")
    return MetadataTable.objects.create(
        site=site, upload=upload, created_by=actor, name=_name(name), sha256=hashlib.sha256(data).hexdigest(), cells=pack(grids)
    )


@transaction.atomic
def choose_sheet(*, held: MetadataTable, sheet: str) -> None:
    """Read another sheet of the workbook."""
    row = table_jobs.take(held)
    if sheet not in {grid.name for grid in opened(row).sheets}:
        raise BadInput("The workbook has no such sheet. Choose one of the list.")
    MetadataTable.objects.filter(pk=row.pk).update(sheet=sheet)


@transaction.atomic
def give_up_table(*, held: MetadataTable) -> None:
    """The table is not to be applied: its cells are forgotten."""
    row = table_jobs.take(held)
    MetadataTable.objects.filter(pk=row.pk, applied=None).update(cells=b"", refused="")


@transaction.atomic
def apply_held(*, held: MetadataTable, seen: str | None, actor: User, told: Told = nobody) -> Applied:
    """Apply a table whose dry run somebody has seen. `seen` is its digest of corrections: raises WrongState where they are others now.

    Without `seen`, as `apply_table`: no image changes its patient."""
    access.require(actor, "correct", site=held.site_id)
    locked = MetadataTable.objects.select_for_update(no_key=True, of=("self",)).select_related("site", "upload").get(pk=held.pk)
    grid = sheet_of(locked, opened(locked))
    parsed = table.read(grid, words_of(locked.site), today=timezone.localdate())
    if parsed.refused:
        raise BadInput(parsed.refused)
    return apply_read(locked, parsed, actor, seen=seen, told=told)


def opened(held: MetadataTable) -> Grids:
    """The sheets of a table that is held. Raises WrongState where it is held no longer."""
    if held.applied:
        raise WrongState("This table is applied already. Choose the file again to apply it once more.")
    if not held.cells:
        raise WrongState("This table is held no longer. Choose the file again.")
    return unpack(bytes(held.cells))


def sheet_of(held: MetadataTable, grids: Grids) -> Grid:
    """The sheet that was chosen, else the first that names a file, else the first."""
    words = words_of(held.site) if len(grids.sheets) > 1 else None
    named = [grid for grid in grids.sheets if words and any(h.ours in ("file", "image") for h in table.heads(grid, words))]
    chosen = [grid for grid in grids.sheets if grid.name == held.sheet] if held.sheet else []
    return (*chosen, *named, *grids.sheets)[0]


def applied_of_site(site: Site, *, most: int = 20) -> list[MetadataTable]:
    """The tables about a site's images that were applied, newest first, with `n_versions`."""
    rows = MetadataTable.objects.filter(site=site, applied__isnull=False).annotate(n_versions=Count("corrections"))
    return list(rows.defer("cells").select_related("created_by", "upload").order_by("-pk")[:most])


# ---- a table that is applied as it comes ------------------------------------------------------------------------------


@transaction.atomic
def apply_table(*, upload: Upload, table_bytes: bytes, actor: User, name: str = "") -> Applied:
    """Read the table and match its rows to the upload's files by name; it changes no image's patient, which somebody must have seen first.

    Raises BadInput where no row can be used at all; every other trouble is said at its row.
    """
    taken, _, parsed = read_new(upload, table_bytes, actor, name)
    taken.save()
    return apply_read(taken, parsed, actor)


def read_new(upload: Upload, data: bytes, actor: User, name: str) -> tuple[MetadataTable, Grids, table.Table]:
    """A table that came just now, not yet written, its cells, and its rows. Raises BadInput where no row can be used."""
    grids = _open(data)
    taken = MetadataTable(
        site_id=upload.site_id, upload=upload, created_by=actor, name=_name(name), sha256=hashlib.sha256(data).hexdigest()
    )
    parsed = table.read(sheet_of(taken, grids), words_of(taken.site), today=timezone.localdate())
    if parsed.refused:
        raise BadInput(parsed.refused)
    return taken, grids, parsed


def _open(data: bytes) -> Grids:
    if len(data) > MAX_BYTES:
        raise BadInput(f"The table has more than {MAX_BYTES // 10**6} MB. Send the images in several uploads, each with its own table.")
    grids = open_table(data)
    if grids.refused:
        raise BadInput(grids.refused)
    return grids


def _name(name: str) -> str:
    return "".join(c for c in name if c.isprintable())[-255:] or "(no name)"


# ---- written ----------------------------------------------------------------------------------------------------------


def apply_read(taken: MetadataTable, parsed: table.Table, actor: User, *, seen: str | None = None, told: Told = nobody) -> Applied:
    """In a transaction: apply rows that were read. `told` hears how many images of how many are written."""
    upload = lock(taken.upload) if taken.upload else None
    if upload and upload.cancelled:
        raise WrongState(_CANCELLED)
    found = matching.in_upload(upload, parsed) if upload else matching.of_site(taken.site, parsed)
    for file in (*found.filled, *found.rest):
        file.table = taken
    replaced = _replaced(upload, found) if upload else []
    images = _hold(file.image_id for file in (*found.filled, *replaced))
    wanted = planned(found, images, may_move=seen is not None)
    if seen is not None and seen != digest(wanted):
        raise WrongState(CHANGED_SINCE, code="changed_since")
    changed, versions = follow(wanted, actor=actor, told=told)
    wrote = _write_rows(upload, found, replaced) if upload else _write_to_be_cleaned(found, images)
    same = not changed and not wrote
    waiting = sum(file.outcome in (FileOutcome.EXPECTED, FileOutcome.MISSING) for file in found.rest)
    counts = {"rows": len(parsed.rows), "matched": len(found.filled), "waiting": waiting}
    record(
        actor_id=actor.pk, action="upload.table_applied" if upload else "site.table_applied", subject=upload or taken.site,
        site_id=taken.site_id, table=taken.pk, **counts, errors=len(found.faults), placed=len(changed), versions=versions,
    )  # fmt: skip
    notices = (*parsed.notices, *merged_notices(wanted))
    applied = Applied(**counts, errors=found.errors, notices=notices, placed=len(changed), versions=versions, unchanged=same)
    MetadataTable.objects.filter(pk=taken.pk).update(applied=Now(), cells=b"", refused="", rows=applied.rows, said=applied.counts)
    return applied


def _hold(image_ids: Iterable[int | None]) -> dict[int, Image]:
    """These images, locked in the order of their ids: before any row of a file that has one of them is written."""
    rows = Image.objects.filter(pk__in={pk for pk in image_ids if pk}).order_by("pk")
    return {image.pk: image for image in rows.select_for_update(no_key=True, of=("self",)).select_related("exam__patient")}


def planned(found: Matched, images: dict[int, Image], *, may_move: bool) -> Plan:
    """What the rows make of images that are past the sanitiser, which places all others. Says the refusals at their rows."""
    pairs = [(images[file.image_id], file) for file in found.filled if file.image_id in images]
    wanted = plan([pair for pair in pairs if pair[0].state not in (ImageState.RECEIVED, ImageState.REJECTED)], may_move=may_move)
    for row, why in wanted.refused:
        found.refuse(row.table_row or 0, why)
        row.table_error = f"{row.table_error} {why}".strip()[:400]
    return wanted


def digest(wanted: Plan) -> str:
    """What somebody saw of a plan: every correction, from what to what."""
    lines = sorted(f"{one.image.pk} {name} {old!r} {new!r}" for one in wanted.corrections for name, (old, new) in one.corrects.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def merged_notices(wanted: Plan) -> list[str]:
    """The tombstones that rows named."""
    return [
        f"Patient {code} was merged into {root}: what the table says of {code} goes to {root}."
        for code, root in sorted(wanted.merged.items())
    ]


def _replaced(upload: Upload, found: Matched) -> list[UploadFile]:
    """Files that an earlier table named and this one does not."""
    named = {file.pk for file in found.filled}
    return [file for file in upload.files.filter(table_row__isnull=False, outcome__in=ARRIVED) if file.pk not in named]


def _write_rows(upload: Upload, found: Matched, replaced: Sequence[UploadFile]) -> bool:
    """The rows of the upload's files, and those without a file; False where they say all of this, and nothing else, already."""
    waiting = {matching.whole(file) for file in upload.files.filter(outcome__in=NO_FILE)}
    news = [file for file in found.filled if matching.whole(file) != matching.whole(found.before[file.pk])]
    if not news and not replaced and waiting == {matching.whole(file) for file in found.rest}:
        return False
    upload.files.filter(outcome__in=NO_FILE).delete()
    for file in replaced:
        file.table, file.table_row, file.table_error, file.captured = None, None, "", None
        file.patient_code = file.exam_code = file.device = file.stated_kind = ""
    update_rows([*found.filled, *replaced], ROW_FIELDS)
    insert_rows(found.rest)
    return True


def _write_to_be_cleaned(found: Matched, images: Mapping[int, Image]) -> bool:
    """Of a site's images those that are still to be cleaned are placed by their rows."""
    news = [
        file
        for file in found.filled
        if images[file.image_id or 0].state == ImageState.RECEIVED and matching.said(file) != matching.said(found.before[file.pk])
    ]
    update_rows(news, ROW_FIELDS)
    return bool(news)


# ---- files that come after their table --------------------------------------------------------------------------------


def match_left_over(upload: Upload, actor: User) -> None:
    """At the end of an upload all names are known: rows that still wait may match a file by its name without the folder."""
    absent = [FileOutcome.EXPECTED, FileOutcome.MISSING]
    waiting = {row.table_row: row for row in upload.files.filter(outcome__in=absent) if row.table_row}
    files = {file.pk: file for file in upload.files.filter(outcome__in=ARRIVED, table_row=None)}
    rows = [table.Row(number, row.name) for number, row in waiting.items()]
    pairs, doubts = table.match(rows, {pk: file.name for pk, file in files.items()})
    paired = [_take_over(files[file_id], waiting[number]) for number, file_id in pairs.items()]
    images = _hold(file.image_id for file in paired)
    found = Matched(filled=paired)
    follow(planned(found, images, may_move=False), actor=actor)
    upload.files.filter(pk__in=[waiting[number].pk for number in pairs]).delete()
    update_rows(paired, ROW_FIELDS)
    for number, doubt in doubts.items():
        upload.files.filter(pk=waiting[number].pk).update(table_error=doubt)


def place_arrival(file: UploadFile, actor: User) -> None:
    """A file that its table named before it came, and whose image is here already. Its image is held by the caller."""
    found = Matched(filled=[file])
    follow(planned(found, _hold([file.image_id]), may_move=False), actor=actor)
    update_rows([file], ["table_error"])


def _take_over(file: UploadFile, row: UploadFile) -> UploadFile:
    for name in ROW_FIELDS:
        setattr(file, name, getattr(row, name))
    return file
