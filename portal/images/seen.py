"""Who saw which pictures. Every way to a picture leaves word: a page that shows thumbnails one event a site, with the images' numbers; the
full picture and the original one each; a thumbnail that is asked for by itself its own.

Thumbnails come after their page by addresses of their own. That they were on a page is remembered for a while, so that they are not
counted twice; where that memory is lost, they are counted twice rather than not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.core.cache import cache

from portal.accounts.models import Site, User
from portal.audit.services import event, record, record_all
from portal.images.models import Image

_SECONDS = 3600
log = logging.getLogger(__name__)


def shown(*, images: Iterable[Image], actor: User, where: str, again: bool = True) -> None:
    """These images' thumbnails are on a page for this person. Not `again`: a page that asks for itself tells of each only once."""
    by_site: dict[int, list[int]] = {}
    pictured = [image for image in images if image.clean_sha256]
    known = set() if again else _remembered([_key(actor, image.pk) for image in pictured])
    for image in pictured:
        if _key(actor, image.pk) not in known:
            by_site.setdefault(image.site_id, []).append(image.pk)
    record_all(
        event(actor_id=actor.pk, action="images.shown", subject=Site(pk=site), site_id=site, where=where, images=ids)
        for site, ids in sorted(by_site.items())
    )
    _remember({_key(actor, pk): 1 for ids in by_site.values() for pk in ids})


def opened(*, image: Image, actor: User, what: str) -> None:
    """A full picture or an original is sent."""
    record(actor_id=actor.pk, action=f"image.{what}_viewed", subject=image, site_id=image.site_id)


def thumb_opened(*, image: Image, actor: User) -> None:
    """A thumbnail is sent. Says so in the trail where no page said it lately."""
    key = _key(actor, image.pk)
    if not _remembered([key]):
        record(actor_id=actor.pk, action="image.thumb_viewed", subject=image, site_id=image.site_id)
        _remember({key: 1})


def _key(actor: User, image: int) -> str:
    return f"shown:{actor.pk}:{image}"


def _remember(keys: dict[str, Any]) -> None:
    try:
        if keys:
            cache.set_many(keys, _SECONDS)
    except Exception as away:
        log.warning("No memory of what was shown: %s", away)


def _remembered(keys: list[str]) -> set[str]:
    try:
        return set(cache.get_many(keys)) if keys else set()
    except Exception as away:
        log.warning("No memory of what was shown: %s", away)
        return set()
