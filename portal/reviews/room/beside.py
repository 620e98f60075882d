"""The other pictures of the exam, for a reader who holds one of them: a faint tint is seen best beside its white-light siblings.

Blind as the picture itself: addresses are keyed hashes of the lease's own, die with it, and order the pictures; so neither names nor
order tell a number, a time or what anybody said. What the machines or other readers made of a sibling changes nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.crypto import salted_hmac

from portal.core.statements import Prepared
from portal.images.models import Image, ImageState
from portal.reviews import rows
from portal.reviews.models import Lease

MOST = 12
SHOWN = (ImageState.CLEAN, ImageState.ANALYSED, ImageState.ACCEPTED, ImageState.IN_REVIEW, ImageState.SETTLED, ImageState.FAILED)
"""Not what is withdrawn or erased, or waits for its own site because of text in it. A failed analysis hides nothing: that is the
machines' affair."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """`key` is the picture's address beside the lease's token."""

    key: str
    image: Image


def siblings(lease: Lease) -> list[Sibling]:
    """The exam's other pictures in an order that only this lease has, at most MOST. None where the picture has no exam."""
    exam = lease.task.image.exam_id
    if exam is None:
        return []
    shown = [rows.image_of(row) for row in _SHOWN.all(exam, lease.task.image_id, list(SHOWN))]
    return sorted((Sibling(_key(lease, image), image) for image in shown), key=lambda sibling: sibling.key)[:MOST]


_SHOWN = Prepared("images_beside", "bigint, bigint, text[]", f"""
    SELECT {rows.IMAGE} FROM images_image AS image
    WHERE image.exam_id = $1 AND image.id <> $2 AND image.state = ANY($3) AND image.clean_sha256 <> ''
""")  # noqa: S608  # nosec B608 # our own names  # fmt: skip


def sibling(lease: Lease, key: str) -> Image | None:
    """The picture of that address, as long as it is one of those shown."""
    return next((found.image for found in siblings(lease) if found.key == key), None)


def _key(lease: Lease, image: Image) -> str:
    """With the installation's secret: the reader knows the token, and could try all numbers otherwise."""
    return salted_hmac("portal.reviews.beside", f"{lease.token}:{image.pk}", algorithm="sha256").hexdigest()[:32]
