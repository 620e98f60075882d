"""Questions that measure a reader: pictures whose kind is known, and pictures that they read weeks ago, under the looks of a review.

They settle nothing. Where they come is drawn by a keyed hash of the reader and of what they were given last: the same again for the same
state, and not to be guessed. They are opened in the transaction that hands them out, by the same number of statements as a review takes.
"""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction
from django.utils.crypto import salted_hmac

from portal.audit import services as audit
from portal.core.statements import Prepared
from portal.ml import Kind
from portal.reviews import rows
from portal.reviews.models import Purpose, ReviewTask
from portal.reviews.standing import Standing

REPEAT_AFTER_DAYS = 14
POOL_OF_A_KIND = 200
"""So many known pictures of a kind are kept ready."""


def draw(reader: int, last: int, what: str) -> float:
    """0 <= x < 1, for this reader after the lease numbered `last`. Nobody without the installation's secret can foretell it."""
    digest = salted_hmac("portal.reviews.measures", f"{what}:{reader}:{last}", algorithm="sha256").digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def purpose(standing: Standing) -> Purpose:
    """What the next picture is to be for. Pure."""
    if standing.must_qualify:
        return Purpose.QUALIFICATION
    drawn = draw(standing.reader, standing.last, "purpose")
    if drawn < standing.gold_share:
        return Purpose.GOLD
    return Purpose.REPEAT if drawn < standing.gold_share + standing.repeat_share else Purpose.REVIEW


def due(standing: Standing) -> ReviewTask | None:
    """The question that this reader is to be measured by now, locked; None where a review is due. The reader's row is held.

    One that they let go comes when the next is due, and not at once: nor does a review. Where nothing known is left, a review is due.
    """
    if not (standing.must_qualify or standing.gold_share or standing.repeat_share):
        return None
    wanted = purpose(standing)
    again = standing.open_measure if wanted is not Purpose.REVIEW else None
    # asked whatever is due: how many statements a picture takes must not tell what it is for
    opened = _open(standing, Purpose.REVIEW if again else wanted)
    given = again or opened
    return _locked(given) if given is not None else None


def left_over(standing: Standing) -> ReviewTask | None:
    """One that this reader let go, locked, for when nothing else waits for them."""
    return _locked(standing.open_measure) if standing.open_measure is not None else None


def _locked(pk: int) -> ReviewTask | None:
    """Locked, unless it is held again by now."""
    row = _LOCK.first(pk)
    return rows.task_of(row) if row else None


_LOCK = Prepared("lock_measure", "bigint", f"""
    SELECT {rows.TASK} FROM {rows.WITH_IMAGE} WHERE task.id = $1 AND image.state IN ('settled', 'in_review') AND NOT EXISTS (
        SELECT FROM reviews_lease AS lease WHERE lease.task_id = task.id AND lease.ended IS NULL AND lease.until > statement_timestamp()
    ) FOR NO KEY UPDATE OF task
""")  # noqa: S608  # nosec B608 # names of the models' own columns  # fmt: skip


def _open(standing: Standing, wanted: Purpose) -> int | None:
    """The id of a fresh question; None where a review is wanted, or no picture is left for the other."""
    repeat = wanted is Purpose.REPEAT
    values = {
        "reader": standing.reader, "purpose": wanted.value, "sites": list(standing.withheld), "closed": list(standing.closed),
        "showings": standing.gold_showings,
        "salt": f"{draw(standing.reader, standing.last, 'picture'):.15f}", "place": draw(standing.reader, standing.last, "place"),
        "days": REPEAT_AFTER_DAYS,
        **audit.part_values(actor_id=standing.reader, action="open_task", subject=ReviewTask, purpose=wanted.value),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_REPEAT if repeat else _OPEN_KNOWN, values)
        row = cursor.fetchone()
    return row[0] if row else None


_ASK = f"""
), asked AS (
    INSERT INTO reviews_reviewtask
        (image_id, reasons, state, purpose, for_reader_id, rules_id, reads_needed, answered, priority, note, readers)
    SELECT chosen.image_id, '{{}}', 'open', %(purpose)s, %(reader)s,
        (SELECT id FROM reviews_reviewrules WHERE site_id = chosen.site_id OR site_id IS NULL ORDER BY site_id NULLS LAST, id DESC LIMIT 1),
        1, 0, 0, '', '{{}}'
    FROM chosen ON CONFLICT DO NOTHING RETURNING id, image_id
), told AS ({audit.record_part("asked")}
), counted AS (
    UPDATE reviews_knownimage AS k SET showings = k.showings + 1,
        retired = CASE WHEN k.showings + 1 >= %(showings)s AND NOT k.qualifying THEN statement_timestamp() ELSE k.retired END
    FROM asked WHERE %(purpose)s <> 'repeat' AND k.image_id = asked.image_id
)
SELECT id FROM asked
"""  # noqa: S608  # nosec B608 # parts of our own
NEVER_SEEN = """NOT EXISTS (
    SELECT FROM reviews_reviewtask t WHERE t.image_id = i.id AND (t.for_reader_id = %(reader)s
        OR EXISTS (SELECT FROM reviews_read r WHERE r.task_id = t.id AND r.reader_id = %(reader)s)
        OR EXISTS (SELECT FROM reviews_lease l WHERE l.task_id = t.id AND l.reader_id = %(reader)s)))"""
LEFT = f"""reviews_knownimage k JOIN images_image i ON i.id = k.image_id
    JOIN labels_label label ON label.image_id = i.id AND label.current AND label.kind = k.kind
    WHERE k.retired IS NULL AND i.state = 'settled' AND i.site_id <> ALL (%(sites)s::bigint[]) AND {NEVER_SEEN}"""
"""Known pictures that a reader has never had before them, of other sites than theirs and of none whose rule shuts them out; what was
settled otherwise since is known no more."""
_OPEN_KNOWN = f"""
WITH chosen AS (
    SELECT i.id AS image_id, i.site_id FROM {LEFT}
        AND %(purpose)s IN ('gold', 'qualification') AND k.qualifying = (%(purpose)s = 'qualification')
    ORDER BY md5(k.id || %(salt)s) LIMIT 1 FOR SHARE OF i SKIP LOCKED
{_ASK}"""  # noqa: S608  # nosec B608 # parts of our own
_OPEN_REPEAT = f"""
WITH span AS (
    SELECT min(created) AS first, statement_timestamp() - make_interval(days => %(days)s) AS last
    FROM reviews_read WHERE reader_id = %(reader)s
), chosen AS (
    SELECT i.id AS image_id, i.site_id
    FROM span, reviews_read r JOIN reviews_reviewtask t ON t.id = r.task_id JOIN images_image i ON i.id = t.image_id
    WHERE r.reader_id = %(reader)s AND r.role = 'reader' AND r.current AND t.purpose = 'review' AND i.state = 'settled'
        AND r.created <= span.last AND r.created <= span.first + (span.last - span.first) * %(place)s
        AND NOT EXISTS (SELECT FROM reviews_reviewtask other WHERE other.image_id = i.id AND other.for_reader_id = %(reader)s)
        AND i.site_id <> ALL (%(closed)s::bigint[]) AND {rows.blind_to(image="i.id", reader="%(reader)s")}
    ORDER BY r.created DESC LIMIT 1 FOR SHARE OF i SKIP LOCKED
{_ASK}"""  # noqa: S608  # nosec B608 # parts of our own


# ---- the pool of known pictures ---------------------------------------------------------------------------------------
@transaction.atomic
def gather() -> int:
    """Take settled pictures into the pool that two first answers or more agreed on, until there are enough of each kind. Safe to ring
    twice. Returns how many came in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('winnow.reviews.gather'))")
        added = 0
        for kind in Kind:
            cursor.execute(_GATHER, {"kind": kind.value, "most": POOL_OF_A_KIND})
            added += cursor.rowcount
    return added


_GATHER = """
INSERT INTO reviews_knownimage (image_id, kind, qualifying, showings)
SELECT i.id, label.kind, false, 0
FROM labels_label label JOIN images_image i ON i.id = label.image_id
JOIN reviews_reviewtask t ON t.id = (label.basis ->> 'task')::bigint AND t.purpose = 'review' AND t.state = 'closed'
WHERE label.current AND label.kind = %(kind)s AND label.provenance IN ('consensus', 'adjudication') AND i.state = 'settled'
    AND NOT EXISTS (SELECT FROM reviews_knownimage k WHERE k.image_id = i.id)
    AND (SELECT count(DISTINCT r.reader_id) FILTER (WHERE NOT r.revealed) >= 2 AND bool_and(r.kind = label.kind)
        FROM reviews_read r WHERE r.task_id = t.id AND r.role = 'reader' AND NOT r.undone)
ORDER BY label.id DESC
LIMIT greatest(0, %(most)s - (SELECT count(*) FROM reviews_knownimage k WHERE k.kind = %(kind)s AND k.retired IS NULL))
ON CONFLICT DO NOTHING
"""


def pool() -> dict[str, int]:
    """How many known pictures of each kind are ready, without those of the qualification set. Plain reading."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT kind, count(*) FROM reviews_knownimage WHERE retired IS NULL AND NOT qualifying GROUP BY kind")
        found: dict[str, Any] = dict(cursor.fetchall())
    return {kind.value: found.get(kind.value, 0) for kind in Kind}
