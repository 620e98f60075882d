"""How a reader stands at this moment: all that decides whether they are given anything, and of what sort. One statement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from django.conf import settings

from portal.accounts.models import User
from portal.core.statements import Prepared
from portal.reviews import rows
from portal.reviews.skips import SKIPPED_FOR


@dataclass(frozen=True, slots=True)
class Standing:
    """`answered`: pictures answered today, counted where there is a limit; `held`: leases that live, fetched ahead among them;
    `last`: number of the newest lease.

    `open_measure`: a question that measures this reader, and that they let go. Shares and limits are those of the rule for all sites.
    `sites`: whose known pictures would be the reader's own; none where the installation lets readers read their own site first. `closed`:
    whose rule in force names others, so that nothing of theirs is shown to this reader.
    """

    reader: int
    sites: tuple[int, ...] = ()
    closed: tuple[int, ...] = ()
    away: bool = False
    away_until: date | None = None
    at_most_a_day: int | None = None
    answered: int = 0
    held: int = 0
    last: int = 0
    open_measure: int | None = None
    qualified: bool = False
    gold_share: float = 0.0
    repeat_share: float = 0.0
    gold_showings: int = 60
    qualify_agreement: float | None = None
    qualify_sensitivity: float | None = None

    @property
    def withheld(self) -> tuple[int, ...]:
        """The sites whose known pictures this reader is not given."""
        return (*self.sites, *self.closed)

    @property
    def must_qualify(self) -> bool:
        return not self.qualified and (self.qualify_agreement is not None or self.qualify_sensitivity is not None)

    def after(self, lease: int) -> Standing:
        """The same, one picture later."""
        return replace(self, last=lease, held=self.held + 1, open_measure=None)


def of(reader: User) -> Standing:
    return _read(reader, _LOOK)


def enter(reader: User) -> Standing:
    """The same, and nobody else gives this reader anything until the transaction ends: two tabs must not take two pictures.

    Where it had to wait, what it says may be a moment old; whoever relies on more asks again.
    """
    return _read(reader, _ENTER)


def _read(reader: User, statement: Prepared) -> Standing:
    row = statement.first(reader.pk, SKIPPED_FOR.total_seconds())
    if row is None:
        return Standing(reader.pk)
    sites, closed, *rest = row
    return Standing(reader.pk, () if settings.READ_OWN_SITE_FIRST else tuple(sites), tuple(closed), *rest)


_SQL = f"""
SELECT array(SELECT DISTINCT site_id FROM accounts_membership WHERE user_id = person.id AND site_id IS NOT NULL), shut.sites,
    coalesce((own.away_from IS NOT NULL OR own.away_until IS NOT NULL)
        AND coalesce(own.away_from <= current_date, true) AND coalesce(own.away_until >= current_date, true), false),
    own.away_until, own.at_most_a_day,
    CASE WHEN own.at_most_a_day IS NULL THEN 0 ELSE (SELECT count(DISTINCT r.task_id) FROM reviews_read r
        WHERE r.reader_id = person.id AND r.created >= current_date AND NOT r.undone AND NOT EXISTS (
            SELECT FROM reviews_read before WHERE before.task_id = r.task_id AND before.reader_id = person.id
            AND NOT before.undone AND before.created < current_date)) END,
    (SELECT count(*) FROM reviews_lease l WHERE l.reader_id = person.id AND l.ended IS NULL AND l.until > statement_timestamp()),
    coalesce((SELECT max(l.id) FROM reviews_lease l WHERE l.reader_id = person.id), 0),
    (SELECT min(t.id) FROM reviews_reviewtask t JOIN images_image i ON i.id = t.image_id
        WHERE t.for_reader_id = person.id AND t.state = 'open' AND i.state IN ('settled', 'in_review')
            AND i.site_id <> ALL(shut.sites) AND {rows.blind_to(image="t.image_id", reader="person.id")} AND NOT EXISTS (
            SELECT FROM reviews_lease l WHERE l.task_id = t.id AND l.reader_id = person.id AND (
                (l.ended IS NULL AND l.until > statement_timestamp())
                -- as of a review: what was skipped does not come at once again, or a skip would tell what a picture is for
                OR (l.skipped <> '' AND l.ended > statement_timestamp() - make_interval(secs => $2))))),
    EXISTS (SELECT FROM reviews_qualification q WHERE q.reader_id = person.id),
    coalesce(rule.gold_share, 0), coalesce(rule.repeat_share, 0), coalesce(rule.gold_showings, 60),
    rule.qualify_agreement, rule.qualify_sensitivity
FROM accounts_user person
CROSS JOIN LATERAL (SELECT {rows.sites_closed_to("person.id")} AS sites) shut
LEFT JOIN reviews_readersettings own ON own.reader_id = person.id
LEFT JOIN LATERAL (SELECT * FROM reviews_reviewrules WHERE site_id IS NULL ORDER BY id DESC LIMIT 1) rule ON true
WHERE person.id = $1
"""  # noqa: S608  # nosec B608 # our own words
_LOOK = Prepared("standing", "bigint, double precision", _SQL)
_ENTER = Prepared("standing_enter", "bigint, double precision", f"{_SQL} FOR NO KEY UPDATE OF person")
