"""A question with its image, its rule and what its page asks, and a lease on one, as plain statements read them: Django writes such a
statement anew each time, which takes longer than to run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from portal.images.models import Image
from portal.reviews.asks import Asks
from portal.reviews.models import Lease, ReviewRules, ReviewTask

_LEASE, _TASK, _IMAGE, _RULES = (list(model._meta.concrete_fields) for model in (Lease, ReviewTask, Image, ReviewRules))


def _names(alias: str, fields: Sequence[Any]) -> list[str]:
    return [f"{alias}.{field.column}" for field in fields]


IMAGE = ", ".join(_names("image", _IMAGE))
TASK = ", ".join([*_names("task", _TASK), *_names("image", _IMAGE), *_names("rules", _RULES), "asks.box", "asks.opinion"])
LEASE = ", ".join([*_names("lease", _LEASE), TASK])
WITH_IMAGE = """reviews_reviewtask AS task JOIN images_image AS image ON image.id = task.image_id
    LEFT JOIN reviews_reviewrules AS rules ON rules.id = task.rules_id
    LEFT JOIN LATERAL (
        SELECT boxes = 'asked' AS box, reveal AS opinion FROM reviews_reviewrules
        WHERE site_id = image.site_id OR site_id IS NULL ORDER BY site_id NULLS LAST, id DESC LIMIT 1
    ) AS asks ON true"""


def opinion_unseen(*, image: str, reader: str) -> str:
    """A condition, on the names of a column and of a value: this reader was not shown the model's opinion of this image."""
    return _not_shown(image, reader, "shown.revealed IS NOT NULL")


def blind_to(*, image: str, reader: str) -> str:
    """The same, and that they have not seen either what others said of it, when they were to settle an earlier question."""
    return _not_shown(image, reader, "(shown.revealed IS NOT NULL OR shown.adjudicating)")


def _not_shown(image: str, reader: str, what: str) -> str:
    return f"""NOT EXISTS (
        SELECT FROM reviews_reviewtask AS earlier JOIN reviews_lease AS shown ON shown.task_id = earlier.id
        WHERE earlier.image_id = {image} AND shown.reader_id = {reader} AND {what}
    )"""  # nosec B608 # our own names


def sites_closed_to(reader: str) -> str:
    """An array, by the name of a value: the sites whose rule in force names others. As `rules.closed_to`."""
    return f"""ARRAY(SELECT site.id FROM accounts_site AS site CROSS JOIN LATERAL (
            SELECT only_sites, only_readers FROM reviews_reviewrules WHERE site_id = site.id OR site_id IS NULL
            ORDER BY site_id NULLS LAST, id DESC LIMIT 1
        ) AS rule WHERE cardinality(rule.only_sites || rule.only_readers) > 0 AND NOT rule.only_readers @> ARRAY[{reader}]
            AND NOT rule.only_sites && ARRAY(
                SELECT site_id FROM accounts_membership WHERE user_id = {reader} AND site_id IS NOT NULL))"""  # noqa: S608  # nosec B608


def image_of(row: Sequence[Any]) -> Image:
    """From the columns IMAGE."""
    return Image.from_db(connection.alias, [field.attname for field in _IMAGE], row)


def task_of(row: Sequence[Any]) -> ReviewTask:
    """From the columns TASK."""
    after, last, end = len(_TASK), len(_TASK) + len(_IMAGE), len(_TASK) + len(_IMAGE) + len(_RULES)
    task = ReviewTask.from_db(connection.alias, [field.attname for field in _TASK], row[:after])
    task.image = image_of(row[after:last])
    rules = row[last:end]
    task.asks = Asks(*(bool(one) for one in row[end:]))
    task.rules = ReviewRules.from_db(connection.alias, [field.attname for field in _RULES], rules) if task.rules_id else None
    return task


def lease_of(row: Sequence[Any]) -> Lease:
    """From the columns LEASE."""
    lease = Lease.from_db(connection.alias, [field.attname for field in _LEASE], row[: len(_LEASE)])
    lease.task = task_of(row[len(_LEASE) :])
    return lease
