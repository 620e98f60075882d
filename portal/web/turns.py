"""What a reader is given at their turn. The page and the JSON of the reading room are made from this alone, so it is blind by itself:
a random address, the picture's own size, what the reader has marked, and what the study asks of them."""

from __future__ import annotations

import string
from typing import Any

from django.db import transaction
from django.urls import reverse
from django.utils.crypto import salted_hmac

from portal.accounts.models import User
from portal.audit import services as audit
from portal.reviews import queue, rest, routing, selectors
from portal.reviews.leases import Role, lease_next
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.room import beside, drafts

NOTHING = {"reader": "There is nothing for you to read now.", "adjudicator": "There is nothing for you to settle now."}


@transaction.atomic
def next_turn(reader: User, role: Role) -> dict[str, Any]:
    """Take the next picture for this reader, or the one they hold, and say what their page needs of it."""
    return of(lease_next(reader=reader, role=role), reader=reader, role=role)


@transaction.atomic
def after(answered: Lease, *, reader: User, role: Role) -> dict[str, Any]:
    """The turn that follows an answer, which is safe by now; in one transaction, as each costs a write to the disk."""
    drafts.forget(answered)
    return next_turn(reader, role)


def of(lease: Lease | None, *, reader: User, role: Role) -> dict[str, Any]:
    """`token` is empty where nothing waits. Showing the pictures of the same exam is a view of them, and audited here."""
    adjudicating = role == "adjudicator"
    # in words: the number would fall by one with an answer that settles something, and stand still with one that measures the reader
    counted = {"waiting": routing.roughly(max(1, queue.waiting(reader, role)) if lease else 0), "adjudicating": adjudicating}
    if lease is None:
        return {"token": "", "why": rest.why(reader, adjudicating=adjudicating) or NOTHING[role], **counted}  # nosec B105 # no picture
    image = lease.task.image
    siblings = beside.siblings(lease)
    if siblings:
        audit.record(
            actor_id=reader.pk, action="view_beside", subject=image, site_id=image.site_id, lease=lease.pk,
            images=[sibling.image.pk for sibling in siblings],
        )  # fmt: skip
    return {
        "token": lease.token,
        "picture": reverse("reading_picture", args=[lease.token]),
        "small": reverse("reading_small", args=[lease.token]),
        "width": image.width or 0,
        "height": image.height or 0,
        "beside": [sibling.key for sibling in siblings],
        "draft": drafts.of(lease),
        "box_asked": lease.task.asks.box,
        "earlier": _earlier(lease.task) if role == "adjudicator" else [],
        **counted,
    }


def _earlier(task: ReviewTask) -> list[dict[str, Any]]:
    """Earlier answers for an adjudicator: by letter, without names. Who came first, who broke a tie, and who is the same reader in two
    questions is not to be told from the letters; for one question they stay, as the adjudicator's reason may name them."""

    def drawn(read: Read) -> str:
        return salted_hmac("portal.web.turns.earlier", f"{task.pk}:{read.reader_id}", algorithm="sha256").hexdigest()

    return [
        {"letter": letter, "kind": read.kind, "reasons": read.reasons, "note": read.note, "box": read.box}
        for letter, read in zip(string.ascii_uppercase, sorted(selectors.answers(task), key=drawn), strict=False)
    ]
