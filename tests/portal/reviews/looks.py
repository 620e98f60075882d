"""What must hold in the reading room at any look, each as one statement on what is committed at that moment."""

from __future__ import annotations

from django.db import connection

from portal.reviews import consensus
from portal.reviews.consensus import Step
from portal.reviews.facts import fact, rule_of
from portal.reviews.models import Read, ReviewTask

_ANSWERS = "(SELECT count(*) FROM reviews_read AS read WHERE read.task_id = task.id AND read.current AND read.role = 'reader')"
_OVER_ASSIGNED = f"""
    SELECT task.id FROM reviews_reviewtask AS task WHERE task.state = 'open' AND task.reads_needed < {_ANSWERS}
        + (SELECT count(*) FROM reviews_lease AS lease
           WHERE lease.task_id = task.id AND lease.ended IS NULL AND lease.until > statement_timestamp())
"""
_TWICE = """
    SELECT task_id FROM reviews_read WHERE current GROUP BY task_id, reader_id HAVING count(*) > 1
"""
_MISCOUNTED = f"""
    SELECT task.id FROM reviews_reviewtask AS task WHERE task.answered <> {_ANSWERS} OR task.readers <> ARRAY(
        SELECT reader_id FROM reviews_read AS read WHERE read.task_id = task.id AND read.current AND read.role = 'reader'
        ORDER BY reader_id)
"""
_HELD_THOUGH_OVER = """
    SELECT task.id FROM reviews_reviewtask AS task JOIN reviews_lease AS lease ON lease.task_id = task.id
    WHERE task.state IN ('closed', 'cancelled') AND lease.ended IS NULL
"""
_OUT_OF_STEP = """
    SELECT task.id FROM reviews_reviewtask AS task JOIN images_image AS image ON image.id = task.image_id
    WHERE task.purpose = 'review' AND task.state IN ('open', 'adjudication') AND image.state <> 'in_review'
"""


def _found(statement: str, values: list[int] | None = None) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [row[0] for row in cursor.fetchall()]


def over_assigned(task: int | None = None) -> list[int]:
    """Tasks, or this one, on which more people are at work than answers are missing."""
    return _found(_OVER_ASSIGNED + (" AND task.id = %s" if task else ""), [task] if task else None)


def wrong() -> list[str]:
    """All else that must never be, in words."""
    looked = {
        "a reader with two answers to one task": _TWICE, "answers counted wrongly": _MISCOUNTED,
        "a lease on a task that is over": _HELD_THOUGH_OVER, "an open task of an image that is not in review": _OUT_OF_STEP,
    }  # fmt: skip
    return [f"{name}: tasks {found[:5]}" for name, statement in looked.items() if (found := _found(statement))]


def closed_short() -> list[int]:
    """Closed tasks whose answers do not settle them, or settle them otherwise than the label says that rests on them. Those whose answers
    were amended after the end are left out: they are asked about again."""
    reads: dict[int, list[Read]] = {}
    for read in Read.objects.filter(current=True).order_by("id"):
        reads.setdefault(read.task_id, []).append(read)
    said = dict(_labels())
    found = []
    for task in ReviewTask.objects.filter(state="closed", purpose="review").select_related("rules"):
        given = reads.get(task.pk, [])
        if any(read.version > 1 for read in given):
            continue
        decision = consensus.decide([fact(read) for read in given], rule_of(task))
        if decision.step is not Step.SETTLE or said.get(task.pk, decision.kind) != decision.kind:
            found.append(task.pk)
    return found


def _labels() -> list[tuple[int, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT (basis ->> 'task')::bigint, kind FROM labels_label WHERE current AND basis ? 'task'")
        return [(task, kind) for task, kind in cursor.fetchall()]
