"""Writes of limits and counters."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import record
from portal.core.errors import BadInput
from portal.holdings import selectors
from portal.holdings.models import SiteHolding

_LIMITS = ("max_bytes", "max_files", "max_in_work")


@transaction.atomic
def set_limits(*, site: Site, actor: User, max_bytes: int | None, max_files: int | None, max_in_work: int | None) -> SiteHolding:
    """A site's own limits from now on. None: the installation's; 0: none. What is stored already stays."""
    access.require(actor, "manage_sites")
    after = {"max_bytes": max_bytes, "max_files": max_files, "max_in_work": max_in_work}
    if any(value is not None and value < 0 for value in after.values()):
        raise BadInput("A limit is a number from 0 on; leave it empty for the installation's own.")
    SiteHolding.objects.get_or_create(site=site)
    held = SiteHolding.objects.select_for_update(of=("self",)).get(site=site)
    before = {name: getattr(held, name) for name in _LIMITS}
    if before != after:
        SiteHolding.objects.filter(site=site).update(**after)
        record(actor_id=actor.pk, action="limits_set", subject=site, site_id=site.pk, before=before, after=after)
    return selectors.holding(site.pk)


def forget(*, site_id: int, files: int, size: int) -> None:
    """In the caller's transaction: so many files of so many bytes are no longer the site's."""
    SiteHolding.objects.filter(site=site_id).update(files=F("files") - files, bytes=F("bytes") - size)
