"""When a reader reads: away, at most so many pictures a day, reminders, languages. Theirs alone to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date

from django.db import transaction

from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import BadInput
from portal.reviews.models import LANGUAGES, ReaderSettings
from portal.reviews.quality import qualification
from portal.reviews.standing import Standing
from portal.reviews.standing import of as standing_of

DIGESTS = (0, 1, 3, 7, 14)
"""Days between reminders that a reader may choose; 0: none."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a reader says of when they read. Days are counted in UTC, both ends of an absence included."""

    away_from: date | None = None
    away_until: date | None = None
    at_most_a_day: int | None = None
    digest_days: int = 0
    languages: Sequence[str] = field(default_factory=list)


def reason(standing: Standing) -> str:
    """Why this reader is given nothing new now, in words for them; empty where nothing speaks against it. Pure."""
    if standing.away:
        until = f" until {standing.away_until:%-d %B %Y}" if standing.away_until else ""
        return f"You are away{until}, as you said under 'When I read'. Change it there, and go on."
    if standing.at_most_a_day is not None and standing.answered >= standing.at_most_a_day:
        return f"You have read the {standing.at_most_a_day} pictures that you set yourself for today. More come after midnight (UTC)."
    return ""


def why(reader: User, *, adjudicating: bool = False) -> str:
    """The same of somebody, as things stand now. Adjudicators need no qualification."""
    now = standing_of(reader)
    return reason(now) or ("" if adjudicating else qualification.why(now))


def room_ahead(standing: Standing) -> bool:
    """Whether one more picture may be fetched ahead: none beyond what the reader wants to read today. Pure."""
    limit = standing.at_most_a_day
    return not reason(standing) and (limit is None or standing.answered + standing.held < limit)


def of(reader: User) -> ReaderSettings:
    """What this reader has set; unsaved where nothing was."""
    return ReaderSettings.objects.filter(reader=reader).first() or ReaderSettings(reader=reader)


@transaction.atomic
def set_times(*, reader: User, times: Times) -> ReaderSettings:
    """Say when one reads. The audit trail learns what was changed and not to what: an absence is nobody else's affair."""
    if times.away_from and times.away_until and times.away_until < times.away_from:
        raise BadInput("The last day away lies before the first. Exchange them.")
    if times.at_most_a_day is not None and not 1 <= times.at_most_a_day <= 10_000:
        raise BadInput("At most so many pictures a day: give a number from 1 to 10,000, or leave it empty.")
    if times.digest_days not in DIGESTS:
        raise BadInput("Choose how often you want to be reminded.")
    if not set(times.languages) <= {code for code, _ in LANGUAGES}:
        raise BadInput("Choose languages from the list.")
    before = ReaderSettings.objects.select_for_update().filter(reader=reader).first() or ReaderSettings(reader=reader)
    after = {**asdict(times), "languages": sorted(times.languages)}
    changed = sorted(name for name, value in after.items() if getattr(before, name) != value)
    row, _ = ReaderSettings.objects.update_or_create(reader=reader, defaults=after)
    audit.record(actor_id=reader.pk, action="reading_times_set", subject=reader, changed=changed)
    return row
