"""Is there room for one more file of a site, and may it come at all? Asked when the file is whole: what is here already needs no room.

And the file's row, with which it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.db import connection

from portal.core.errors import WinnowError
from portal.holdings import quotas, selectors, tokens
from portal.holdings.models import SiteHolding
from portal.images import formats, locks, storage
from portal.images.models import IN_WORK, Image, Upload

ERASED = "This file was erased at your site's wish and is not taken in again. Your site lead can allow it on the page of the erasure."
_SECONDS = 2.0
_counted: dict[int, tuple[float, int]] = {}


class NoRoom(WinnowError):
    """The site holds as much as it may. Nothing was lost: the same file may be sent again later."""

    status = 507
    code = "no_room"


class TooBusy(NoRoom):
    """So much of the site's is in work that it must wait."""

    status = 429
    code = "too_busy"


_COLUMNS = """
    EXISTS (SELECT FROM images_image WHERE site_id = %(site)s AND sha256 = %(sha256)s),
    EXISTS (SELECT FROM holdings_erasedfile WHERE site_id = %(site)s AND token = %(token)s),
    COALESCE(held.bytes, 0), COALESCE(held.files, 0), held.max_bytes, held.max_files, held.max_in_work
"""
_OF_SITE = "LEFT JOIN holdings_siteholding AS held ON held.site_id = %(site)s"
_LOOK = f"SELECT {_COLUMNS} FROM (SELECT) AS nothing {_OF_SITE}"  # noqa: S608  # nosec B608 # constants
_ENTER = f"{locks.HOLD} SELECT {locks.HELD}, {_COLUMNS} FROM upload {_OF_SITE}"  # noqa: S608  # nosec B608 # constants


def enter(upload: Upload, name: str, spooled: storage.Spooled) -> tuple[Upload, str]:
    """`locks.share` and `refusal` by one statement, inside a transaction: the upload as it is now, and why the file may never come."""
    with connection.cursor() as cursor:
        cursor.execute(_ENTER, {"upload": upload.pk, "name": name, **_asked(upload.site_id, spooled.sha256)})
        found = cursor.fetchone()
    held = locks.as_held(upload, found)
    return held, _judged(upload.site_id, spooled.size, found[3:])


def refusal(site_id: int, sha256: str, size: int) -> str:
    """Why this very file may never come; empty where it may. Raises NoRoom or TooBusy where only now it may not.

    What the site has sent before needs no room.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, _asked(site_id, sha256))
        return _judged(site_id, size, cursor.fetchone())


def _asked(site_id: int, sha256: str) -> dict[str, Any]:
    return {"site": site_id, "sha256": sha256, "token": tokens.of(site_id, sha256)}


def _judged(site_id: int, size: int, found: Sequence[Any]) -> str:
    known, erased, *held = found
    if known:
        return ""
    if erased:
        return ERASED
    names = ("bytes", "files", "max_bytes", "max_files", "max_in_work")
    _require(SiteHolding(site_id=site_id, **dict(zip(names, held, strict=True))), size)
    return ""


def refusal_now(site_id: int, sha256: str, size: int) -> str:
    """The same, where nobody waits who could be told to come again: why the file is not taken in now."""
    try:
        return refusal(site_id, sha256, size)
    except NoRoom as now:
        return now.message


def require(site_id: int) -> None:
    """Before an upload is opened: raises NoRoom or TooBusy."""
    _require(selectors.holding(site_id), 0)


def _require(held: SiteHolding, size: int) -> None:
    limits = selectors.limits(held)
    use = selectors.use(held, in_work(held.site_id) if limits.in_work else 0)
    if reason := quotas.full(use, limits, size):
        raise NoRoom(reason)
    if reason := quotas.busy(use, limits):
        raise TooBusy(reason)


def in_work(site_id: int) -> int:
    """How many images of the site wait for the machines. Counted anew every two seconds: counting tens of thousands for each of as many
    files would cost more than taking them in."""
    at, count = _counted.get(site_id, (-_SECONDS, 0))
    if time.monotonic() - at >= _SECONDS:
        count = Image.objects.filter(site=site_id, state__in=IN_WORK).count()
        _counted[site_id] = (time.monotonic(), count)
    return count


def lines(site_id: int) -> list[quotas.Line]:
    """Each limit of the site beside what it uses now."""
    held = selectors.holding(site_id)
    counted = Image.objects.filter(site=site_id, state__in=IN_WORK).count()
    return quotas.lines(selectors.use(held, counted), selectors.limits(held))


INSERT = """
INSERT INTO images_image (site_id, upload_id, original_name, sha256, size, format,
    state, state_reason, clean_sha256, clean_format, device, stated_kind)
SELECT %(site_id)s, %(upload_id)s, %(original_name)s, %(sha256)s, %(size)s, %(format)s, 'received', '', '', '', '', '' {condition}
ON CONFLICT (site_id, sha256) DO NOTHING RETURNING id, created
"""
COUNT = """
INSERT INTO holdings_siteholding AS held (site_id, bytes, files) SELECT %(site_id)s, %(size)s, 1 {source}
ON CONFLICT (site_id) DO UPDATE SET bytes = held.bytes + excluded.bytes, files = held.files + 1
"""


def values(upload: Upload, name: str, spooled: storage.Spooled) -> dict[str, str | int]:
    """What is known of an image when its file has come."""
    return {
        "site_id": upload.site_id, "upload_id": upload.pk, "original_name": name, "sha256": spooled.sha256, "size": spooled.size,
        "format": formats.sniff(spooled.head),
    }  # fmt: skip


def count(image: Image) -> None:
    """A new image among what its site holds. Last in its transaction: every file of the site waits for this row."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT.format(source=""), {"site_id": image.site_id, "size": image.size})


def insert(upload: Upload, name: str, spooled: storage.Spooled) -> tuple[Image, bool]:
    """The site's image of these bytes, and whether it is new. Two at once: the database's constraint decides, the second waits."""
    known = values(upload, name, spooled)
    with connection.cursor() as cursor:
        cursor.execute(INSERT.format(condition=""), known)
        new = cursor.fetchone()
    if new:
        return Image(id=new[0], created=new[1], **known), True
    return Image.objects.select_for_update(of=("self",)).get(site_id=upload.site_id, sha256=spooled.sha256), False
