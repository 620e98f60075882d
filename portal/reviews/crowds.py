"""How many open questions ask the same already: about images of the same site that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.db import connection

from portal.reviews.order import MOST_ALIKE

Place = tuple[int, int | None, float]
"""Site, look and doubt of a question that is to be asked."""


def alike(places: Sequence[Place]) -> list[int]:
    """For each, in order: how many ask the same already, open ones and those of this batch that are more in doubt, to MOST_ALIKE. One
    statement, and none where no look is known."""
    counts = Counter(_open({(site, look) for site, look, _ in places if look is not None}))
    found = [0] * len(places)
    for row in sorted(range(len(places)), key=lambda row: -places[row][2]):
        site, look, _ = places[row]
        if look is not None:
            found[row] = min(MOST_ALIKE, counts[site, look])
            counts[site, look] += 1
    return found


def _open(kinds: set[tuple[int, int]]) -> dict[tuple[int, int], int]:
    if not kinds:
        return {}
    sites, looks = zip(*sorted(kinds), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [MOST_ALIKE, list(sites), list(looks)])
        return {(site, look): count for site, look, count in cursor.fetchall()}


_COUNT = """
SELECT asked.site, asked.look, (
    SELECT count(*) FROM (
        SELECT FROM reviews_reviewtask AS task
        WHERE task.site_id = asked.site AND task.look = asked.look AND task.state = 'open' AND task.purpose = 'review' LIMIT %s
    ) AS counted
) FROM unnest(%s::bigint[], %s::smallint[]) AS asked(site, look)
"""
