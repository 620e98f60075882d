"""What a reader has marked and not yet submitted: kept at every change, given back with the picture, gone with the answer."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from portal.core.errors import BadInput
from portal.core.statements import Prepared
from portal.reviews.models import Draft, Lease, Read, ReviewTask

_LONGEST = {"kind": 20, "note": 2000, "box": 120}
_MOST_REASONS = 12


@transaction.atomic
def keep(*, lease: Lease, content: dict[str, Any]) -> None:
    """Keep what the page holds. A lease that has run out keeps it too: nothing that was written is lost. Not where the answer is in: what
    comes after it over a slow line is of no use to anybody. The question is held meanwhile, or an answer could come in between."""
    checked = _checked(content)
    ReviewTask.objects.select_for_update(no_key=True).only("pk").get(pk=lease.task_id)
    over = Lease.objects.filter(pk=lease.pk, ended__isnull=False)
    if over.filter(Exists(Read.objects.filter(task=OuterRef("task"), reader=OuterRef("reader"), current=True))).exists():
        return
    Draft.objects.update_or_create(task=lease.task, reader=lease.reader, defaults={"content": checked, "moved": Now()})


def of(lease: Lease) -> dict[str, Any]:
    """What was kept of this picture for this reader; empty where nothing was."""
    row = _OF.first(lease.task_id, lease.reader_id)
    return json.loads(row[0]) if row else {}


_OF = Prepared("draft_of", "bigint, bigint", "SELECT content::text FROM reviews_draft WHERE task_id = $1 AND reader_id = $2")


def forget(lease: Lease) -> None:
    """The answer is in: what was kept on the way to it goes."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM reviews_draft WHERE task_id = %s AND reader_id = %s", [lease.task_id, lease.reader_id])


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    texts = {name: str(content.get(name, ""))[:longest] for name, longest in _LONGEST.items()}
    reasons = content.get("reasons", [])
    confidence = content.get("confidence")
    if not isinstance(reasons, list) or confidence not in (None, 1, 2, 3):
        raise BadInput("What was marked could not be kept. Reload the page.")
    return {**texts, "reasons": [str(reason)[:60] for reason in reasons[:_MOST_REASONS]], "confidence": confidence}
