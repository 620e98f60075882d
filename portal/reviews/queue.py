"""The next question for a reader, found and locked by one statement. It says in SQL what `routing.py` (who may) and `order.py` (which of
these) say.

No row is walked over again and again, however long the queue: fresh questions lie in an index by site, so a reader's own site is never
looked at; begun ones lie in an index by who has answered, so what the reader or their colleagues have read is not looked at either.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.utils.crypto import salted_hmac

from portal.accounts.models import User
from portal.core.statements import Prepared
from portal.reviews import order, rows
from portal.reviews.models import ReviewTask
from portal.reviews.skips import SKIPPED_FOR

Role = Literal["reader", "adjudicator"]
FOREIGN_FOR = timedelta(days=7)
"""So long a question waits for an adjudicator who can read its notes; then it goes to any."""
MOST_COUNTED = 100
"""With very many, counting would take longer than reading."""


def lock_next(reader: User, role: Role, *, wait: bool = False) -> ReviewTask | None:
    """A task that this reader may be given, with its image, its row locked. None: nothing waits for them. `wait`: where others hold all
    rows that were looked at, look at all there are, and wait for them. Whether it is still to be had only a later statement sees."""
    row = _STATEMENTS[role, wait].first(reader.pk, seed(reader), not settings.READ_OWN_SITE_FIRST)
    return rows.task_of(row) if row else None


def waiting(reader: User, role: Role) -> int:
    """About how many questions this reader may come to be given, to MOST_COUNTED: what others hold just now is among them."""
    row = _COUNTS[role].first(reader.pk, seed(reader), not settings.READ_OWN_SITE_FIRST)
    assert row is not None
    return int(row[0])


def seed(reader: User) -> str:
    """With the installation's secret: who knows a sequence of pictures must not find out by trying what they are."""
    return salted_hmac("portal.reviews.queue", str(reader.pk), algorithm="sha256").hexdigest()[:32]


_WHOLE = f"SELECT {rows.TASK} FROM {rows.WITH_IMAGE} WHERE task.id ="  # noqa: S608  # nosec B608 # names of the models' own columns

_DRAWN = "sha256(convert_to((SELECT dice FROM about) || '{what}:' || {number}, 'UTF8'))"

_ABOUT = f"""
given AS MATERIALIZED (
    SELECT lease.id, lease.task_id, task.site_id, image.exam_id, row_number() OVER (ORDER BY lease.id DESC) AS back
    FROM (SELECT id, task_id FROM reviews_lease WHERE reader_id = $1 ORDER BY id DESC LIMIT {order.LOOK_BACK}) AS lease
    JOIN reviews_reviewtask AS task ON task.id = lease.task_id JOIN images_image AS image ON image.id = task.image_id
),
own AS MATERIALIZED (
    SELECT DISTINCT site_id FROM accounts_membership WHERE user_id = $1 AND site_id IS NOT NULL AND $3
),
about AS MATERIALIZED (
    SELECT $2 || ':' || COALESCE((SELECT max(id) FROM given), 0) || ':' AS dice,
        ARRAY(SELECT task_id FROM given) AS had,
        ARRAY(SELECT site_id FROM own) AS own,
        ARRAY(SELECT DISTINCT user_id FROM accounts_membership WHERE site_id IN (SELECT site_id FROM own) AND user_id <> $1)
            AS colleagues,
        {rows.sites_closed_to("$1")} AS closed,
        ARRAY(SELECT task_id FROM reviews_lease WHERE reader_id = $1 AND skipped <> ''
            AND ended > statement_timestamp() - make_interval(secs => {SKIPPED_FOR.total_seconds()})) AS skipped
)"""  # noqa: S608  # nosec B608 # our own numbers

_BLIND = rows.blind_to(image="task.image_id", reader="$1")
"""Who was shown the model's opinion of an image, or what others said of it, is not asked about it as a reader."""

# a lease of the reader's own, or of a colleague before the second answer, leaves no place
_PLACE = f"""
    task.id <> ALL((SELECT skipped FROM about)::bigint[])
    AND (SELECT image.state FROM images_image AS image WHERE image.id = task.image_id) = 'in_review'
    AND {_BLIND}
    AND task.answered + (
        SELECT COALESCE(sum(CASE WHEN lease.reader_id = $1
            OR (task.answered < 2 AND lease.reader_id = ANY((SELECT colleagues FROM about)::bigint[])) THEN 100 ELSE 1 END), 0)
        FROM reviews_lease AS lease WHERE lease.task_id = task.id AND lease.ended IS NULL AND lease.until > statement_timestamp()
    ) < task.reads_needed"""  # noqa: S608  # nosec B608 # our own words

_OPEN = "task.state = 'open' AND task.purpose = 'review'"


_LOOK_AHEAD = "LIMIT 100"
"""The planner cannot know that the very first rows are nearly always free, and would sort them all. Where none of so many is, the statement
that waits looks at all of them."""


def _one_of(which: str, place: str) -> str:
    """One of the first rows, drawn and locked."""
    return f"""
        SELECT task.id FROM (
            SELECT id, turn, first_value(turn) OVER (ORDER BY turn, id) AS first FROM (
                SELECT task.id, task.turn FROM (
                    SELECT * FROM reviews_reviewtask AS task WHERE {which} ORDER BY task.turn, task.id {_LOOK_AHEAD}
                ) AS task WHERE {place} ORDER BY task.turn, task.id LIMIT {order.WINDOW}
            ) AS window_of_it
        ) AS candidate JOIN reviews_reviewtask AS task ON task.id = candidate.id
        WHERE candidate.turn <= candidate.first + {order.NEAR.total_seconds()}
        ORDER BY task.id = ANY((SELECT had FROM about)::bigint[]), {_DRAWN.format(what="task", number="task.id")}
        LIMIT 1 FOR NO KEY UPDATE OF task SKIP LOCKED"""  # noqa: S608  # nosec B608 # our own words


_BEGUN_ROW = f"{_OPEN} AND task.answered > 0 AND task.answered < task.reads_needed"

_EXAM = f"""
    SELECT task.id FROM (
        SELECT image.id FROM images_image AS image WHERE image.state = 'in_review' AND image.exam_id = (
            SELECT exam_id FROM given WHERE back = 1
            AND (SELECT count(*) FROM given AS last WHERE last.back <= {order.IN_A_ROW} AND last.exam_id = given.exam_id) < {order.IN_A_ROW}
        ) LIMIT 50
    ) AS same JOIN reviews_reviewtask AS task ON task.image_id = same.id
    WHERE {_OPEN} AND NOT task.readers @> ARRAY[$1]
        AND task.site_id <> ALL((SELECT closed FROM about)::bigint[])
        AND (task.answered > 0 OR task.site_id <> ALL((SELECT own FROM about)::bigint[]))
        AND (task.answered <> 1 OR NOT task.readers && (SELECT colleagues FROM about)::bigint[])
        AND task.id <> ALL((SELECT had FROM about)::bigint[]) AND {_PLACE}
    ORDER BY floor(task.turn / {order.NEAR.total_seconds()}), {_DRAWN.format(what="task", number="task.id")} LIMIT 1
    FOR NO KEY UPDATE OF task SKIP LOCKED"""  # noqa: S608  # nosec B608

# who has answered what is begun: each group is reached by one step along the index
_GROUPS = f"""
groups AS (
    (SELECT task.readers, task.turn FROM reviews_reviewtask AS task WHERE {_BEGUN_ROW} ORDER BY task.readers, task.turn LIMIT 1)
    UNION ALL
    SELECT further.readers, further.turn FROM groups CROSS JOIN LATERAL (
        SELECT task.readers, task.turn FROM reviews_reviewtask AS task WHERE {_BEGUN_ROW} AND task.readers > groups.readers
        ORDER BY task.readers, task.turn LIMIT 1
    ) AS further
)"""  # noqa: S608  # nosec B608

_OF_GROUP = f"{_BEGUN_ROW} AND task.readers = begun.readers AND task.site_id <> ALL((SELECT closed FROM about)::bigint[])"  # noqa: S608  # nosec B608
_OTHERS = """
    SELECT readers FROM groups WHERE NOT readers @> ARRAY[$1]
        AND (cardinality(readers) > 1 OR NOT readers && (SELECT colleagues FROM about)::bigint[])"""

_BEGUN = f"""
    SELECT found.id FROM ({_OTHERS} ORDER BY turn, readers) AS begun CROSS JOIN LATERAL ({_one_of(_OF_GROUP, _PLACE)}) AS found
    LIMIT 1"""  # noqa: S608  # nosec B608

_FRESH = f"""
    SELECT found.id FROM (
        SELECT site.id FROM accounts_site AS site WHERE site.id <> ALL((SELECT own || closed FROM about)::bigint[])
        ORDER BY (SELECT count(*) FROM given WHERE given.site_id = site.id) / {order.EVEN}, {_DRAWN.format(what="site", number="site.id")}
    ) AS site CROSS JOIN LATERAL ({_one_of(f"{_OPEN} AND task.answered = 0 AND task.site_id = site.id", _PLACE)}) AS found
    LIMIT 1"""  # noqa: S608  # nosec B608

_COIN = f"(SELECT get_byte({_DRAWN.format(what='begun', number='0')}, 0) < {order.BEGUN})"

_READING = f"""
WITH RECURSIVE {_ABOUT}, {_GROUPS}
{_WHOLE} (SELECT id FROM (
    SELECT id FROM ({_EXAM}) AS exam
    UNION ALL SELECT id FROM (SELECT id FROM ({_BEGUN}) AS begun WHERE {_COIN}) AS first
    UNION ALL SELECT id FROM ({_FRESH}) AS fresh
    UNION ALL SELECT id FROM ({_BEGUN}) AS last
) AS found LIMIT 1)"""  # noqa: S608  # nosec B608

_WAITING = f"""
WITH RECURSIVE {_ABOUT}, {_GROUPS}
SELECT count(*) FROM (
    SELECT FROM ({_OTHERS}) AS begun CROSS JOIN LATERAL (
        SELECT FROM reviews_reviewtask AS task WHERE {_BEGUN_ROW} AND task.readers = begun.readers LIMIT {MOST_COUNTED}
    ) AS theirs
    UNION ALL
    SELECT FROM (SELECT id FROM accounts_site WHERE id <> ALL((SELECT own || closed FROM about)::bigint[])) AS site CROSS JOIN LATERAL (
        SELECT FROM reviews_reviewtask AS task WHERE {_OPEN} AND task.answered = 0 AND task.site_id = site.id LIMIT {MOST_COUNTED}
    ) AS theirs
    LIMIT {MOST_COUNTED}
) AS found"""  # noqa: S608  # nosec B608
_WAITING_ADJUDICATION = f"""
SELECT count(*) FROM (SELECT FROM reviews_reviewtask AS task WHERE task.state = 'adjudication' LIMIT {MOST_COUNTED}) AS found
WHERE ($1, $2, $3) IS NOT NULL"""  # noqa: S608  # nosec B608

_UNTOUCHED = f"""
    task.id <> ALL((SELECT skipped FROM about)::bigint[]) AND {rows.opinion_unseen(image="task.image_id", reader="$1")}
    AND (SELECT image.state FROM images_image AS image WHERE image.id = task.image_id) = 'in_review'
    AND NOT EXISTS (
        SELECT FROM reviews_read AS read WHERE read.task_id = task.id AND read.reader_id = $1 AND (read.current OR read.role = 'reader')
    )
    AND NOT EXISTS (
        SELECT FROM reviews_lease AS lease WHERE lease.task_id = task.id AND lease.ended IS NULL AND lease.until > statement_timestamp()
    )"""  # noqa: S608  # nosec B608

# first what they can read the notes of; what has waited for a week goes to anybody
_UNDERSTOOD = f"""{_UNTOUCHED}
    AND (task.created < statement_timestamp() - make_interval(secs => {FOREIGN_FOR.total_seconds()}) OR NOT EXISTS (
        SELECT FROM reviews_read AS read JOIN reviews_readersettings AS theirs ON theirs.reader_id = read.reader_id
        JOIN reviews_readersettings AS mine ON mine.reader_id = $1
        WHERE read.task_id = task.id AND read.current AND read.note <> ''
            AND theirs.languages <> '{{}}' AND mine.languages <> '{{}}' AND NOT theirs.languages && mine.languages
    ))"""  # nosec B608
_ADJUDICATED = "task.state = 'adjudication'"
_ADJUDICATION = f"""
WITH {_ABOUT} {_WHOLE} (SELECT id FROM (
    SELECT id FROM ({_one_of(_ADJUDICATED, _UNDERSTOOD)}) AS first UNION ALL SELECT id FROM ({_one_of(_ADJUDICATED, _UNTOUCHED)}) AS last
) AS found LIMIT 1)"""  # noqa: S608  # nosec B608

_STATEMENTS = {
    (role, wait): Prepared(
        f"queue_{role}{'_wait' if wait else ''}",
        "bigint, text, boolean",
        statement.replace("SKIP LOCKED", "").replace(_LOOK_AHEAD, "") if wait else statement,
    )
    for role, statement in (("reader", _READING), ("adjudicator", _ADJUDICATION))
    for wait in (False, True)
}
_COUNTS = {
    "reader": Prepared("queue_waiting_reader", "bigint, text, boolean", _WAITING),
    "adjudicator": Prepared("queue_waiting_adjudicator", "bigint, text, boolean", _WAITING_ADJUDICATION),
}
