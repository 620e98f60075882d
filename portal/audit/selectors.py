"""Reads of the audit trail. Events are found by `search`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from portal.audit.models import AuditCheck, AuditEvent, AuditSeal

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class ChainState:
    """Until when events are sealed, how many wait for it (at most so many are counted), and what the last walk found."""

    sealed_until: datetime | None
    waiting: int
    last: AuditCheck | None


def chain_state() -> ChainState:
    """Three queries."""
    newest = AuditSeal.objects.select_related("event").order_by("-pk").first()
    waiting = AuditEvent.objects.filter(seal=None).order_by("-pk")[:_MOST].count()
    return ChainState(newest.event.created if newest else None, waiting, AuditCheck.objects.order_by("-pk").first())
