"""Which images show the same photograph: what is kept of each picture, and the pairs of one site.

Pairs are looked for by a job of its own and after the commit of the picture: two images cleaned at once then find each other,
whichever is compared last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from PIL import Image as Picture

from portal.accounts import access
from portal.accounts.models import User
from portal.audit.services import event, record, record_all
from portal.core.errors import WrongState
from portal.images import kept, storage
from portal.images.likeness import NEAR, Look, look, same_picture
from portal.images.models import Image, Likeness, NearDuplicate
from portal.jobs import services as jobs

_MOST = 40
"""Of the nearest hashes, how many are looked at."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, the later first, that show one photograph."""

    image: int
    other: int
    distance: int


def remember(looks: Sequence[tuple[Image, Look]]) -> None:
    """Keep how these pictures look; they wait to be compared. One statement."""
    rows = [Likeness(image=image, site_id=image.site_id, phash=seen.phash, sketch=seen.sketch, compared=None) for image, seen in looks]
    Likeness.objects.bulk_create(rows, update_conflicts=True, unique_fields=["image"], update_fields=["phash", "sketch", "compared"])


def look_again(image_ids: Sequence[int]) -> None:
    """Images from before this was kept: their looks are taken from their thumbnails. What has no picture any more is passed over."""
    bare = Image.objects.filter(pk__in=image_ids, likeness=None).exclude(clean_sha256="")
    remember([(image, seen) for image in bare if (seen := _of_thumbnail(image))])


def _of_thumbnail(image: Image) -> Look | None:
    path = kept.local(storage.thumb_path(image.site_id, image.clean_sha256))
    if not path.is_file():
        return None
    with Picture.open(path) as picture:
        return look(picture.convert("RGB"))


def compare_the_rest() -> int:
    """Queue every image that has a picture and was never compared. Returns how many."""
    waiting = Image.objects.filter(Q(likeness=None) | Q(likeness__compared=None)).exclude(clean_sha256="")
    ids = list(waiting.order_by("pk").values_list("pk", flat=True))
    with transaction.atomic():
        jobs.put(kind="compare", subject_ids=ids)
    return len(ids)


def compare(image_ids: Sequence[int]) -> list[Pair]:
    """Inside a transaction: write the pairs of these images with others of their own site, and that they were compared."""
    found = pairs(image_ids, own_site=True)
    known = set(NearDuplicate.objects.filter(image__in={pair.image for pair in found}).values_list("image", "other"))
    new = [pair for pair in found if (pair.image, pair.other) not in known]
    rows = [NearDuplicate(image_id=pair.image, other_id=pair.other, distance=pair.distance) for pair in new]
    NearDuplicate.objects.bulk_create(rows, ignore_conflicts=True)
    images = Image.objects.in_bulk([pair.image for pair in new])
    record_all(
        event(
            actor_id=None, action="image.near_duplicate", subject=images[pair.image], site_id=images[pair.image].site_id,
            other=pair.other, distance=pair.distance,
        )
        for pair in new
    )  # fmt: skip
    Likeness.objects.filter(pk__in=image_ids).update(compared=Now())
    return new


_NEIGHBOURS = """
SELECT mine.image_id, near.image_id, near.distance, mine.sketch, near.sketch
FROM images_likeness mine CROSS JOIN LATERAL (
    SELECT other.image_id, other.sketch, (other.phash <~> mine.phash)::int AS distance FROM images_likeness other
    WHERE other.image_id <> mine.image_id AND (other.site_id = mine.site_id) = %(own)s
    ORDER BY other.phash <~> mine.phash LIMIT %(most)s
) near
WHERE mine.image_id = ANY(%(ids)s) AND near.distance <= %(near)s
"""


def pairs(image_ids: Sequence[int], *, own_site: bool) -> list[Pair]:
    """The pairs of these images with images of their own site, or with those of all other sites. Inside a transaction.

    What is near enough lies within the nearest few of all sites, so that the filter by site costs the index nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        cursor.execute(_NEIGHBOURS, {"own": own_site, "most": _MOST, "ids": list(image_ids), "near": NEAR})
        rows = cursor.fetchall()
    found = {
        Pair(max(image, other), min(image, other), bits)
        for image, other, bits, mine, theirs in rows
        if same_picture(bits, bytes(mine), bytes(theirs))
    }
    return sorted(found, key=lambda pair: (pair.image, pair.other))


@transaction.atomic
def dismiss(*, pair: NearDuplicate, actor: User) -> None:
    """A person looked and says: not the same photograph. It is no longer shown; data sets stay closed over it."""
    access.require(actor, "upload", site=pair.image.site_id)
    changed = NearDuplicate.objects.filter(pk=pair.pk, dismissed=None).update(dismissed=Now(), dismissed_by=actor)
    if not changed:
        raise WrongState("Somebody has said already that these two are not the same. Reload the page.")
    record(
        actor_id=actor.pk, action="image.near_dismissed", subject=pair.image, site_id=pair.image.site_id, other=pair.other_id,
        distance=pair.distance,
    )  # fmt: skip
