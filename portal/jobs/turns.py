"""Whose turn it is: the sites whose work waits take turns, so that a long backlog of one costs another at most half its pace.

Within a site the order is that of the queue. A batch is dealt out one job a site and round; who is dealt to first moves on by one site
with every claim, which each process counts for itself: nothing is written for it, and no claim waits for another.

The order and the limits inside the statement, also where they change nothing, keep the planner on the index: without them it read the
whole table for a claim (docs/LOG.md).
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Iterator

from portal.jobs.kinds import KINDS

PUT = """
INSERT INTO jobs_job (kind, subject_id, site_id, actor_id, state, attempt, deaths, errors, alone, batch_size, worker, error, progress,
    cancel_requested)
SELECT %(kind)s, {subject}, {site}, %(actor)s, 'queued', 0, 0, 0, false, 0, '', '', '{{}}', false FROM {asked}
ON CONFLICT (kind, subject_id) WHERE state IN ('queued', 'claimed') DO NOTHING
"""
_ASKED = "unnest(%(subjects)s::bigint[]) WITH ORDINALITY AS asked (subject, place) {owner} ORDER BY place"
_OF_NOBODY = PUT.format(subject="subject", site="0", asked=_ASKED.format(owner=""))

_DUE = "state = 'queued' AND kind = %(kind)s AND not_before <= statement_timestamp()"
CLAIM = f"""
WITH RECURSIVE sites (site) AS (
    (SELECT site_id FROM jobs_job WHERE state = 'queued' AND kind = %(kind)s ORDER BY site_id LIMIT 1)
    UNION ALL
    SELECT (SELECT site_id FROM jobs_job WHERE state = 'queued' AND kind = %(kind)s AND site_id > sites.site ORDER BY site_id LIMIT 1)
    FROM sites WHERE sites.site IS NOT NULL
), turns AS MATERIALIZED (
    SELECT site, (row_number() OVER (ORDER BY site) + %(turn)s) %% count(*) OVER () AS place FROM sites
    WHERE site IS NOT NULL AND (SELECT true FROM jobs_job WHERE site_id = site AND {_DUE} ORDER BY not_before LIMIT 1)
), head AS (
    SELECT first.* FROM (SELECT site FROM turns ORDER BY place LIMIT 1) AS next, LATERAL (
        SELECT id, alone FROM jobs_job WHERE site_id = next.site AND {_DUE}
        ORDER BY not_before, id LIMIT 1 FOR UPDATE SKIP LOCKED) AS first
), dealt AS (
    SELECT site, count(*) AS share FROM (
        SELECT site FROM turns, LATERAL (
            SELECT row_number() OVER () AS round
            FROM (
                SELECT FROM jobs_job WHERE site_id = site AND {_DUE} AND NOT alone ORDER BY not_before LIMIT %(size)s) AS waiting
        ) AS rounds
        ORDER BY round, place LIMIT %(size)s) AS hands
    WHERE NOT EXISTS (SELECT FROM head WHERE alone) GROUP BY site
), batch AS (
    SELECT of_site.id FROM dealt, LATERAL (
        SELECT id FROM jobs_job WHERE site_id = dealt.site AND {_DUE} AND NOT alone
        ORDER BY not_before, id LIMIT dealt.share FOR UPDATE SKIP LOCKED) AS of_site
), picked AS (SELECT id FROM head WHERE alone UNION ALL SELECT id FROM batch LIMIT %(size)s)
UPDATE jobs_job SET state = 'claimed', attempt = attempt + 1, batch_size = (SELECT count(*) FROM picked),
    lease_until = statement_timestamp() + make_interval(secs => %(lease)s), worker = %(worker)s, progress = '{{}}'
FROM picked WHERE jobs_job.id = picked.id
RETURNING jobs_job.id, kind, subject_id, actor_id, attempt, cancel_requested
"""  # noqa: S608  # nosec B608 # _DUE is a constant of this file

_turns: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(random.randrange(1 << 16)))


def turn(kind: str) -> int:
    """One more than the last time, in this process."""
    return next(_turns[kind])


def put_statement(kind: str) -> str:
    """Into the queue, each job with the site that its subject belongs to."""
    owners = KINDS[kind].owners
    if not owners:
        return _OF_NOBODY
    asked = _ASKED.format(owner=f'LEFT JOIN "{owners}" AS owner ON owner.id = asked.subject')
    return PUT.format(subject="subject", site="COALESCE(owner.site_id, 0)", asked=asked)


def put_part(new: str) -> str:
    """The same as part of a larger statement, for rows that its part `new` returns by id: `kind`, `actor` and `site_id` are its values.
    Whoever executes it rings the bell."""
    return PUT.format(subject="id", site="%(site_id)s", asked=new)
