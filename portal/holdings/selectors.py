"""Reads of what a site holds, of erasures, and of the stores' checks."""

from __future__ import annotations

from django.conf import settings

from portal.holdings import tokens
from portal.holdings.models import ErasedFile, SiteHolding, StoreCheck
from portal.holdings.quotas import Limits, Use


def holding(site_id: int) -> SiteHolding:
    """The site's counters; all nothing where it never sent anything."""
    return SiteHolding.objects.filter(site=site_id).first() or SiteHolding(site_id=site_id)


def limits(held: SiteHolding) -> Limits:
    """The site's own limits, else the installation's."""
    return Limits(
        bytes=settings.SITE_BYTES if held.max_bytes is None else held.max_bytes,
        files=settings.SITE_FILES if held.max_files is None else held.max_files,
        in_work=settings.SITE_IN_WORK if held.max_in_work is None else held.max_in_work,
    )


def use(held: SiteHolding, in_work: int) -> Use:
    return Use(held.bytes, held.files, in_work)


def is_kept_out(site_id: int, sha256: str) -> ErasedFile | None:
    """The tombstone's word on a file that this very site had erased."""
    return ErasedFile.objects.filter(site=site_id, token=tokens.of(site_id, sha256)).first()


def newest_checks(count: int = 10) -> list[StoreCheck]:
    return list(StoreCheck.objects.order_by("-pk")[:count])
