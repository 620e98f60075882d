"""Own answers, looked at again: for some days to amend them, and, where the study says so, once beside the model's opinion.

The picture is blind here as it was before, under an address that is given for a short while and is one reader's own. The model's opinion
is shown to nobody who has not answered, and that it was shown is written down before it is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core import signing
from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce, Now

from portal.accounts.models import User
from portal.analyses import selectors as analyses
from portal.analyses.models import Analysis, Assessment
from portal.audit import services as audit
from portal.core.errors import NotVisible, WrongState
from portal.images.models import Image, ImageState
from portal.reviews import selectors
from portal.reviews.models import Lease, Read, ReviewTask, TaskState
from portal.reviews.room import beside

AMENDABLE = timedelta(days=7)
"""Shorter than the time after which a picture may come a second time: nobody compares with what they said then."""
ADDRESS = timedelta(minutes=10)
REVEALED = timedelta(minutes=10)
SHOWN = (ImageState.ACCEPTED, ImageState.IN_REVIEW, ImageState.SETTLED)
MOST = 50
STANDS = Exists(Read.objects.filter(task=OuterRef("task"), reader=OuterRef("reader"), undone=False, created__lte=Now() - AMENDABLE))
"""Of an answer: it can be undone or amended no more. Its first version counts, or whoever amends once a week could do so for ever."""
_signer = signing.TimestampSigner(salt="portal.reviews.looking_back")


@dataclass(frozen=True, slots=True)
class Answered:
    """The lease under which an answer was given, and the version of it that counts."""

    lease: Lease
    read: Read


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle in pixels of the picture, and the classifier's own share of non-regular there."""

    x: float
    y: float
    width: float
    height: float
    share: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the machines say of a picture alone. `others`: of the exam's other pictures that the reader has answered, how many of each
    automatic kind."""

    kind: str
    p_non_regular: float
    probabilities: dict[str, float]
    box: list[float] | None
    version: str
    others: dict[str, int]
    heat: list[Place]
    """Where it sees what it says; empty where that is not known."""

    @property
    def strongest(self) -> str:
        """Where that is most, in words, for who does not see the colours."""
        top = max(self.heat, key=lambda place: place.share)
        x0, y0 = self.heat[0].x, self.heat[0].y
        x1, y1 = self.heat[-1].x + self.heat[-1].width, self.heat[-1].y + self.heat[-1].height
        row = _third((top.y + top.height / 2 - y0) / (y1 - y0), ("upper", "", "lower"))
        column = _third((top.x + top.width / 2 - x0) / (x1 - x0), ("left", "", "right"))
        return " ".join(part for part in (row, column) if part) or "middle"


def own_answers(reader: User) -> list[Read]:
    """What this person said lately and may still amend, the newest first; each with `token`, by which it is opened."""
    rows = Read.objects.filter(~STANDS, reader=reader, current=True, task__image__state__in=SHOWN)
    rows = rows.exclude(task__state=TaskState.CANCELLED)
    token = Lease.objects.filter(task=OuterRef("task"), reader=reader).order_by("-id").values("token")[:1]
    return list(rows.annotate(token=Subquery(token)).exclude(token=None).order_by("-id")[:MOST])


def answered(reader: User, token: str) -> Answered:
    """One's own answer of that address. Raises NotVisible: also where the picture was withdrawn since."""
    lease = selectors.lease_by_token(reader, token)
    if lease is None or lease.task.image.state not in SHOWN:
        raise NotVisible
    read = Read.objects.filter(task=lease.task_id, reader=reader, current=True).first()
    if read is None:
        raise NotVisible
    return Answered(lease, read)


def to_amend(reader: User, token: str) -> Answered:
    """The same, as long as it may be amended."""
    found = answered(reader, token)
    if Read.objects.filter(STANDS, pk=found.read.pk).exists():
        raise WrongState(f"Answers can be amended for {AMENDABLE.days} days. This one is older: tell those who lead the study.")
    return found


def address(found: Answered) -> str:
    """The picture's address for a short while."""
    return _signer.sign(found.lease.token)


def by_address(reader: User, signed: str) -> Answered:
    try:
        token = _signer.unsign(signed, max_age=ADDRESS)
    except signing.BadSignature:
        raise NotVisible from None
    return answered(reader, token)


def will_reveal(lease: Lease) -> bool:
    """Whether the model's opinion is shown to a reader who has answered, and there is one."""
    return lease.task.asks.opinion and analyses.current_assessment(lease.task.image) is not None


@transaction.atomic
def reveal(*, reader: User, token: str) -> tuple[Answered, Opinion]:
    """What the model says, for a few minutes after the own answer. That answer can be amended then, and no longer be undone."""
    # an answer that is being taken back at this moment is none to show an opinion on
    ReviewTask.objects.select_for_update(no_key=True).get(pk=answered(reader, token).lease.task_id)
    found = answered(reader, token)
    fresh = Lease.objects.filter(pk=found.lease.pk, ended__gt=Now() - REVEALED).exists()
    assessment = analyses.current_assessment(found.lease.task.image)
    if assessment is None or not fresh or not found.lease.task.asks.opinion or found.read.role != "reader":
        raise NotVisible
    image = found.lease.task.image
    Lease.objects.filter(pk=found.lease.pk).update(revealed=Coalesce("revealed", Now()))
    audit.record(actor_id=reader.pk, action="reveal", subject=image, site_id=image.site_id, read=found.read.pk, assessment=assessment.pk)
    return found, _opinion(assessment.analysis, image, reader)


def _opinion(analysis: Analysis, image: Image, reader: User) -> Opinion:
    """Of the picture alone: beside its exam the model would tell of pictures that this reader may still be asked about. Of those, it is
    told what the reader has answered already."""
    said = Read.objects.filter(reader=reader, current=True, task__image=OuterRef("image"))
    near = Assessment.objects.filter(Exists(said), image__exam=image.exam_id, image__state__in=beside.SHOWN, current=True)
    kinds = near.exclude(image=image.pk).values_list("kind", flat=True) if image.exam_id else []
    return Opinion(
        analysis.kind, analysis.p_non_regular, analysis.probabilities, analysis.box, str(analysis.version), dict(Counter(kinds)),
        places(analysis.heat),
    )  # fmt: skip


def _third(share: float, names: tuple[str, str, str]) -> str:
    return names[min(int(share * 3), 2)]


def places(heat: dict[str, Any]) -> list[Place]:
    """An Analysis' heat map as rectangles, row by row. Pure."""
    if not heat:
        return []
    x0, y0, x1, y1 = heat["region"]
    rows = heat["rows"]
    high, wide = (y1 - y0) / len(rows), (x1 - x0) / len(rows[0])
    return [
        Place(round(x0 + column * wide, 1), round(y0 + row * high, 1), round(wide, 1), round(high, 1), share)
        for row, shares in enumerate(rows)
        for column, share in enumerate(shares)
    ]
