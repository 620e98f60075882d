"""What a reader has marked and not yet submitted: kept at every change, given back with the picture, gone with the answer."""

from __future__ import annotations

from typing import Any

from django.db.models.functions import Now

from portal.core.errors import BadInput
from portal.reviews.models import Draft, Lease

_LONGEST = {"kind": 20, "note": 2000, "box": 120}
_MOST_REASONS = 12


def keep(*, lease: Lease, content: dict[str, Any]) -> None:
    """Keep what the page holds. A lease that has run out keeps it too: nothing that was written is lost."""
    Draft.objects.update_or_create(task=lease.task, reader=lease.reader, defaults={"content": _checked(content), "moved": Now()})


def of(lease: Lease) -> dict[str, Any]:
    """What was kept of this picture for this reader; empty where nothing was."""
    found = Draft.objects.filter(task=lease.task_id, reader=lease.reader_id).values_list("content", flat=True).first()
    return dict(found) if found else {}


def forget(lease: Lease) -> None:
    """The answer is in: what was kept on the way to it goes."""
    Draft.objects.filter(task=lease.task_id, reader=lease.reader_id).delete()


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    texts = {name: str(content.get(name, ""))[:longest] for name, longest in _LONGEST.items()}
    reasons = content.get("reasons", [])
    confidence = content.get("confidence")
    if not isinstance(reasons, list) or confidence not in (None, 1, 2, 3):
        raise BadInput("What was marked could not be kept. Reload the page.")
    return {**texts, "reasons": [str(reason)[:60] for reason in reasons[:_MOST_REASONS]], "confidence": confidence}
