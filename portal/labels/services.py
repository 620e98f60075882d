"""Writes of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction

from portal.accounts.models import User
from portal.audit import services as audit
from portal.images.models import Image
from portal.labels.models import Label, Provenance
from portal.ml import Kind


@transaction.atomic
def set_label(
    *,
    image: Image,
    kind: Kind,
    provenance: Provenance,
    actor: User | None = None,
    box: Sequence[float] | None = None,
    reasons: Sequence[str] = (),
    basis: dict[str, Any] | None = None,
) -> Label:
    """Give the image a label, which takes the place of its current one; that stays in the history. The caller holds the image's
    row or its task's; two at once end in an IntegrityError of `one_current_label` for the later."""
    superseded = Label.objects.filter(image=image, current=True).update(current=False)
    label = Label.objects.create(
        image=image,
        kind=kind,
        provenance=provenance,
        actor=actor,
        box=list(box) if box else None,
        reasons=list(reasons),
        basis=basis or {},
    )
    audit.record(
        actor_id=actor.pk if actor else None,
        action="label",
        subject=label,
        site_id=image.site_id,
        image=image.pk,
        kind=str(kind),
        provenance=str(provenance),
        superseded=superseded,
    )
    return label
