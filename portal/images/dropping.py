"""A picture that was replaced because something was written in it leaves the store by work, tried again until it is gone."""

from __future__ import annotations

from portal.audit.services import record
from portal.images import kept, storage
from portal.images.models import Image, TextFound
from portal.jobs import services as jobs

KIND = "drop"


class _More(Exception):
    """Another picture was replaced meanwhile."""


def drop_later(image: Image, sha256: str, extension: str) -> None:
    """In the transaction that replaces the picture; the image is held by the caller."""
    found = TextFound.objects.select_for_update().get(image=image)
    found.replaced = [*found.replaced, [sha256, extension]]
    found.save(update_fields=["replaced"])
    # after the row: who ends the work holds the row too, and so either sees this picture or is done before this work is asked for
    jobs.put(kind=KIND, subject_ids=[image.pk])


def drop(claim: jobs.Claim) -> None:
    """Remove what is left of one image. Raises TryLater where the store is away. Safe to repeat."""
    found = TextFound.objects.filter(image=claim.subject_id).select_related("image").first()
    gone = list(found.replaced) if found else []
    for sha256, extension in gone:
        _remove(found.image.site_id if found else 0, sha256, extension)
    try:
        jobs.finish(claim, lambda: _forget(claim.subject_id, gone))
    except _More:
        jobs.release([claim])


def _remove(site_id: int, sha256: str, extension: str) -> None:
    if not Image.objects.filter(site=site_id, clean_sha256=sha256).exists():
        kept.remove(storage.clean_path(site_id, sha256, extension))
        kept.remove(storage.thumb_path(site_id, sha256))


def _forget(image_id: int, gone: list[list[str]]) -> None:
    found = TextFound.objects.select_for_update(of=("self",)).select_related("image").filter(image=image_id).first()
    if found is None or not gone:
        return
    found.replaced = [one for one in found.replaced if one not in gone]
    if found.replaced:
        raise _More
    found.save(update_fields=["replaced"])
    record(actor_id=None, action="image.replaced_dropped", subject=found.image, site_id=found.image.site_id, pictures=len(gone))
