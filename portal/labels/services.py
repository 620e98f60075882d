"""Writes of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from portal.accounts.models import User
from portal.audit import services as audit
from portal.audit.models import AuditEvent
from portal.core.statements import Prepared
from portal.images.models import Image
from portal.labels.models import Label, Provenance
from portal.ml import Kind


@dataclass(frozen=True, slots=True)
class New:
    """A label to be. `basis`: what it rests on; `box`: x0, y0, x1, y1 in pixels of the clean picture, where people drew one."""

    image: Image
    kind: Kind
    provenance: Provenance
    actor: User | None = None
    box: Sequence[float] | None = None
    reasons: Sequence[str] = ()
    basis: dict[str, Any] = field(default_factory=dict)


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
    new = New(image, kind, provenance, actor, box, reasons, basis or {})
    label = _row(new)
    row = _SET.first(
        image.pk, label.kind, label.provenance, label.box, list(label.reasons), label.actor_id, json.dumps(label.basis), image.site_id
    )
    assert row is not None
    label.pk, label.created = row
    label._state.adding = False
    return label


_SET = Prepared("set_label", "bigint, text, text, double precision[], text[], bigint, text, bigint", """
WITH standing AS (
    UPDATE labels_label SET current = false WHERE image_id = $1 AND current RETURNING kind, provenance
), before AS (
    SELECT count(*) AS superseded, COALESCE(max(kind || ', ' || provenance), '') AS said FROM standing
), new AS (
    INSERT INTO labels_label (image_id, kind, provenance, box, reasons, actor_id, basis, current)
    SELECT $1, $2, $3, $4, $5, $6, $7::jsonb, true FROM before RETURNING id, created
), told AS (
    INSERT INTO audit_auditevent (actor_id, action, subject_type, subject_id, site_id, details)
    SELECT $6, 'label', 'labels.Label', new.id, $8, jsonb_build_object(
        'image', $1, 'kind', $2, 'provenance', $3, 'superseded', before.superseded, 'before', before.said, 'after', $2 || ', ' || $3
    ) FROM new, before
)
SELECT id, created FROM new
""")  # fmt: skip
"""As `set_labels` does, by one statement; the new row waits for the old one."""


@transaction.atomic
def set_labels(wanted: Sequence[New]) -> list[Label]:
    """The same for many images, each named once, in a fixed number of statements."""
    if not wanted:
        return []
    standing = Label.objects.filter(image__in=[new.image.pk for new in wanted], current=True)
    superseded = {image: f"{kind}, {provenance}" for image, kind, provenance in standing.values_list("image", "kind", "provenance")}
    if superseded:
        standing.update(current=False)
    labels = Label.objects.bulk_create(_row(new) for new in wanted)
    audit.record_all(_event(label, new, superseded) for label, new in zip(labels, wanted, strict=True))
    return labels


@transaction.atomic
def retract(*, label: Label, why: dict[str, Any]) -> Label | None:
    """Take a current label back. The one that it had superseded stands again, as a new row; None where there was none. Not one of the same
    question: that was taken back too."""
    Label.objects.filter(pk=label.pk).update(current=False)
    earlier = Label.objects.filter(image=label.image_id, pk__lt=label.pk)
    before = earlier.exclude(basis__contains={"task": label.basis.get("task")}).order_by("-pk").first()
    audit.record(
        actor_id=None, action="label_retracted", subject=label, site_id=label.image.site_id, image=label.image_id,
        before=f"{label.kind}, {label.provenance}", after=f"{before.kind}, {before.provenance}" if before else "", **why,
    )  # fmt: skip
    if before is None:
        return None
    again = New(
        label.image, Kind(before.kind), Provenance(before.provenance), before.actor, before.box, before.reasons,
        {**before.basis, "restored": before.pk},
    )  # fmt: skip
    return set_labels([again])[0]


def _row(new: New) -> Label:
    return Label(
        image=new.image,
        kind=new.kind,
        provenance=new.provenance,
        actor=new.actor,
        box=list(new.box) if new.box else None,
        reasons=list(new.reasons),
        basis=new.basis,
    )


def _event(label: Label, new: New, superseded: dict[int, str]) -> AuditEvent:
    return audit.event(
        actor_id=new.actor.pk if new.actor else None,
        action="label",
        subject=label,
        site_id=new.image.site_id,
        image=new.image.pk,
        kind=str(new.kind),
        provenance=str(new.provenance),
        superseded=int(new.image.pk in superseded),
        before=superseded.get(new.image.pk, ""),
        after=f"{new.kind}, {new.provenance}",
    )
