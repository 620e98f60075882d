"""Writes of data sets: choose and freeze in one transaction, then the folder, which an io worker writes."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from portal.accounts.models import Site, User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.datasets import selectors
from portal.datasets.folder import FolderFailed, write_folder
from portal.datasets.models import Snapshot, SnapshotItem, SnapshotState
from portal.datasets.query import Query
from portal.datasets.rows import Row, digest, manifest, tabulate, warnings
from portal.jobs.models import Job, JobState
from portal.jobs.services import Claim, LostClaim, complete, enqueue, extend, fail, retry


def preview(query: Query) -> dict[str, Any]:
    """What would be in a snapshot of this query, and what is wrong with that."""
    chosen = selectors.choose(query)
    return {
        **tabulate(chosen.rows),
        **_left_and_joined(chosen),
        "warnings": warnings(chosen.rows),
    }


@transaction.atomic
def create_snapshot(*, name: str, query: Query, actor: User) -> Snapshot:
    """Freeze which images, with which labels and splits; a worker writes the folder. Refuses an empty or a repeated content."""
    name = name.strip()
    if not name or Snapshot.objects.filter(name=name).exists():
        raise BadInput("Give the snapshot a name that no other has.")
    chosen = selectors.choose(query)
    if not chosen.rows:
        raise BadInput(warnings(())[0])
    snapshot = _insert(name, query, actor, chosen)
    SnapshotItem.objects.bulk_create([_item(snapshot, row) for row in chosen.rows], batch_size=2000)
    record(actor_id=actor.pk, action="snapshot.create", subject=snapshot, hash=snapshot.hash, images=len(chosen.rows))
    enqueue(kind="freeze", subject_id=snapshot.pk, actor_id=actor.pk)
    return snapshot


def _item(snapshot: Snapshot, row: Row) -> SnapshotItem:
    """The image as it is labelled and placed now: whatever is corrected later, the data set stays as it was."""
    return SnapshotItem(
        snapshot=snapshot,
        image_id=row.image_id,
        label_id=row.label_id,
        split=row.split,
        box=row.box,
        exam_id=row.exam_id,
        device=row.device,
        stated_kind=row.stated_kind,
        captured=row.captured,
        read_for=row.read_for,
    )


def _insert(name: str, query: Query, actor: User, chosen: selectors.Chosen) -> Snapshot:
    found = digest(manifest(chosen.rows))
    counts = {**tabulate(chosen.rows), **_left_and_joined(chosen), "repeated_images": [str(image) for image in chosen.repeated]}
    try:
        with transaction.atomic():
            return Snapshot.objects.create(name=name, query=query.as_json(), created_by=actor, hash=found, counts=counts)
    except IntegrityError as error:
        same = Snapshot.objects.filter(hash=found).first()
        if same is None:
            raise BadInput("Give the snapshot a name that no other has.") from error
        raise WrongState(f"The snapshot “{same.name}” holds exactly these images with these labels: use that one.") from error


def _left_and_joined(chosen: selectors.Chosen) -> dict[str, int]:
    return {
        "without_patient": chosen.without_patient, "repeated": len(chosen.repeated), "joined": chosen.joined, "moved": chosen.moved,
        "not_compared": chosen.not_compared,
    }  # fmt: skip


def write_snapshot(claim: Claim) -> None:
    """Write the folder of a snapshot. Killed at any point, the next attempt goes on where this one stopped."""
    snapshot = Snapshot.objects.get(pk=claim.subject_id)

    def alive(fraction: float) -> None:
        if claim.job_id not in extend([claim], progress={"fraction": fraction}):
            raise LostClaim(f"job {claim.job_id}, attempt {claim.attempt}")

    try:
        folder = write_folder(snapshot, selectors.items(snapshot), alive=alive)
    except FolderFailed as error:
        with transaction.atomic():
            fail(claim, str(error))
            snapshot_failed(claim, str(error))
        return
    with transaction.atomic():
        complete(claim)
        Snapshot.objects.filter(pk=snapshot.pk).update(state=SnapshotState.FROZEN, folder=str(folder), error="")
        record(actor_id=claim.actor_id, action="snapshot.frozen", subject=snapshot, hash=snapshot.hash)


@transaction.atomic
def snapshot_failed(claim: Claim, error: str) -> None:
    """Say on the snapshot that its job has failed for good. The caller ends the job in the same transaction."""
    Snapshot.objects.filter(pk=claim.subject_id).update(state=SnapshotState.FAILED, error=error)
    record(actor_id=claim.actor_id, action="snapshot.failed", subject=Snapshot.objects.get(pk=claim.subject_id), error=error[:300])


@transaction.atomic
def retry_snapshot(*, snapshot: Snapshot, actor: User) -> None:
    """Write the folder of a failed snapshot again."""
    job = Job.objects.filter(kind="freeze", subject_id=snapshot.pk, state=JobState.FAILED).order_by("-id").first()
    if job is None:
        raise WrongState("Only a snapshot whose writing failed can be written again.")
    Snapshot.objects.filter(pk=snapshot.pk).update(state=SnapshotState.WRITING, error="")
    record(actor_id=actor.pk, action="snapshot.retry", subject=snapshot)
    retry(job=job, actor_id=actor.pk)


@transaction.atomic
def record_export(*, subject: Site | Snapshot, what: str, actor: User) -> None:
    """Leave word of who took a collection out of the house."""
    site = subject.pk if isinstance(subject, Site) else None
    record(actor_id=actor.pk, action=f"export.{what}", subject=subject, site_id=site)
