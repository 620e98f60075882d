"""What must hold in the reading room at any look, each as one statement on what is committed at that moment."""

from __future__ import annotations

from django.db import connection

_OVER_ASSIGNED = """
    SELECT task.id FROM reviews_reviewtask AS task WHERE task.state = 'open' AND task.reads_needed <
        (SELECT count(*) FROM reviews_read AS read WHERE read.task_id = task.id AND read.current AND read.role = 'reader')
        + (SELECT count(*) FROM reviews_lease AS lease WHERE lease.task_id = task.id AND lease.ended IS NULL AND lease.until > now())
"""


def over_assigned(task: int | None = None) -> list[int]:
    """Tasks, or this one, on which more people are at work than answers are missing."""
    with connection.cursor() as cursor:
        cursor.execute(_OVER_ASSIGNED + (" AND task.id = %s" if task else ""), [task] if task else [])
        return [row[0] for row in cursor.fetchall()]
