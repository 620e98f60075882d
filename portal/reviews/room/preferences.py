"""How a reader likes to read: theirs alone to set, and nothing that anybody is told of."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import BadInput
from portal.reviews.models import ReaderSettings
from portal.reviews.room import keys as rules


@transaction.atomic
def set_reading(*, reader: User, keys: Mapping[str, str], low_bandwidth: bool) -> ReaderSettings:
    """Keep the key map and how pictures come. A key that does two things is refused."""
    if rules.faults(keys):
        raise BadInput("Some keys cannot be used as they stand. Look at those that are marked.")
    kept, _ = ReaderSettings.objects.update_or_create(reader=reader, defaults={"keys": rules.chosen(keys), "low_bandwidth": low_bandwidth})
    audit.record(actor_id=reader.pk, action="set_reading", subject=reader, changed=sorted(kept.keys), low_bandwidth=low_bandwidth)
    return kept
