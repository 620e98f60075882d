"""The example set, drawn by the project's own generator, is settled by the truth it was drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts.models import User
from portal.audit.services import record
from portal.images.models import Image, ImageState
from portal.labels import services as labels
from portal.labels.models import Provenance
from portal.ml import Kind
from portal.reviews.models import Lease, ReviewTask, TaskState

Truth = tuple[str, str, str, tuple[float, float, float, float] | None]
"""Site slug, file name, kind, box in pixels."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How many were settled now; `waiting`: found, but not yet through triage (call again); `done`: people or an earlier call had
    settled them; `missing`: no such image."""

    settled: int
    waiting: int
    done: int
    missing: int


def settle_example_truth(*, truth: Sequence[Truth], actor: User | None) -> Settled:
    """Settle the images named in `truth` under the provenance `example_truth`; open questions about them are cancelled.
    One transaction an image, and safe to call again."""
    wanted = {(site, name): (kind, box) for site, name, kind, box in truth}
    rows = Image.objects.filter(site__slug__in={site for site, _ in wanted}).values_list("pk", "site__slug", "original_name", "state")
    found = {pk: ((site, name), state) for pk, site, name, state in rows if (site, name) in wanted}
    open_states = {ImageState.ACCEPTED, ImageState.IN_REVIEW}
    settled = 0
    for pk, (key, state) in sorted(found.items()):
        kind, box = wanted[key]
        settled += state in open_states and _settle(pk, Kind(kind), box, actor)
    done = sum(state == ImageState.SETTLED for _, state in found.values())
    missing = len(wanted) - len({key for key, _ in found.values()})
    return Settled(settled, len(found) - settled - done, done, missing)


@transaction.atomic
def _settle(pk: int, kind: Kind, box: tuple[float, float, float, float] | None, actor: User | None) -> bool:
    # the task before the image, as submit_read does: the other order may deadlock with a reader
    live = ReviewTask.objects.filter(image=pk, state__in=[TaskState.OPEN, TaskState.ADJUDICATION])
    tasks = list(live.select_for_update(no_key=True).values_list("pk", flat=True))
    image = Image.objects.select_for_update(no_key=True).get(pk=pk)
    if image.state not in (ImageState.ACCEPTED, ImageState.IN_REVIEW):
        return False
    Lease.objects.filter(task__in=tasks, ended__isnull=True).update(ended=Now())
    ReviewTask.objects.filter(pk__in=tasks).update(state=TaskState.CANCELLED, closed=Now())
    labels.set_label(image=image, kind=kind, provenance=Provenance.EXAMPLE_TRUTH, actor=actor, box=box)
    Image.objects.filter(pk=pk).update(state=ImageState.SETTLED)
    record(
        actor_id=actor.pk if actor else None, action="image.settled", subject=image, site_id=image.site_id, before=image.state,
        after="settled", tasks=tasks,
    )  # fmt: skip
    return True
