"""Reads of the audit trail."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.audit.models import AuditEvent


def newest(rows: QuerySet[AuditEvent], *, before: int | None = None, subject: str = "", limit: int = 50) -> list[AuditEvent]:
    """The newest events first; `subject` as `images.Image` or `images.Image:12`."""
    kind, _, number = subject.partition(":")
    if kind:
        rows = rows.filter(subject_type=kind)
    if number.isdecimal():
        rows = rows.filter(subject_id=int(number))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(rows.order_by("-pk")[:limit])
