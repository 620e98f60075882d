"""The erasure as work: rows first, then blobs, then data sets, then the codes. Killed anywhere, the next attempt goes on from there."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from portal.audit import services as audit
from portal.core.faults import fault
from portal.datasets.models import Snapshot, SnapshotState
from portal.erasure import folders, rows, services
from portal.erasure.subjects import Of, Subject, used_in
from portal.holdings.models import Erasure, ErasureState
from portal.images.models import OUT, Image, ImageState
from portal.jobs import services as jobs
from portal.reviews.services import take_out

_BATCH = 50


class BeingFrozen(jobs.TryLater):
    """A data set with these images is being written: its folder is reduced when it is complete."""


def erase(claim: jobs.Claim) -> None:
    """Do, or go on with, one erasure."""
    erasure = Erasure.objects.get(pk=claim.subject_id)
    if erasure.state == ErasureState.DONE:
        jobs.finish(claim, lambda: None)
        return
    subject = Subject(_of(erasure), erasure.subject_id, erasure.site_id, "")
    while ids := list(subject.images.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        _rows(claim, erasure.pk, ids)
        fault("erasure_rows")
    erasure.refresh_from_db()
    _disk(erasure)
    fault("erasure_disk")
    jobs.finish(claim, partial(_end, erasure, claim))


def _of(erasure: Erasure) -> Of:
    of: Of = "patient" if erasure.of == "patient" else "exam" if erasure.of == "exam" else "image"
    return of


@transaction.atomic
def _rows(claim: jobs.Claim, erasure_id: int, ids: list[int]) -> None:
    if claim.job_id not in jobs.extend([claim]):
        raise jobs.LostClaim(f"job {claim.job_id}, attempt {claim.attempt}")
    for image in Image.objects.filter(pk__in=ids).exclude(state__in=[*OUT, ImageState.REJECTED]).order_by("pk"):
        take_out(image=image, actor_id=claim.actor_id, reason="Erased.")
    images = list(Image.objects.select_for_update(of=("self",)).filter(pk__in=ids).exclude(state=ImageState.ERASED).order_by("pk"))
    erasure = Erasure.objects.select_for_update(of=("self",)).get(pk=erasure_id)
    before = {image.pk: image.state for image in images}
    rows.erase(erasure, images)
    audit.record_all(
        audit.event(
            actor_id=claim.actor_id, action="image.erased", subject=image, site_id=image.site_id, before=before[image.pk], after="erased",
            erasure=erasure_id,
        )
        for image in images
    )  # fmt: skip


def _disk(erasure: Erasure) -> None:
    """Blobs before folders: once a clean picture is gone no data set can link it any more."""
    blobs: list[folders.Blob] = [(image, sha256, clean, extension) for image, sha256, clean, extension in erasure.files]
    folders.unlink(erasure.site_id, blobs)
    for snapshot in Snapshot.objects.filter(items__image__in=erasure.images).distinct().order_by("pk"):
        if snapshot.state == SnapshotState.WRITING:
            raise BeingFrozen(f"Erasure {erasure.pk} waits until the data set {snapshot.pk} is written.")
        mine = set(snapshot.items.filter(image__in=erasure.images).values_list("image", flat=True))
        folders.reduce(snapshot, [blob for blob in blobs if blob[0] in mine], erasure=erasure.pk)


def _end(erasure: Erasure, claim: jobs.Claim) -> None:
    rows.forget_patient(erasure)
    services.finished(erasure=erasure, used=dict(used_in(erasure.images)), actor_id=claim.actor_id)


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the erasure stays waiting, and its job can be tried again from the page of failed jobs."""
    audit.record(
        actor_id=claim.actor_id, action="erasure.failed", subject=Erasure.objects.get(pk=claim.subject_id), error=type(error).__name__
    )
    jobs.fail(claim, error)
