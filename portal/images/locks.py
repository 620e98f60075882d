"""How an upload is held while something of it is written: alone, or beside other files."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from django.db import connection

from portal.core.errors import NotVisible
from portal.images.models import Upload

HOLD = "WITH upload AS MATERIALIZED (SELECT closed, cancelled FROM images_upload WHERE id = %(upload)s FOR SHARE)"
HELD = "closed, cancelled, pg_advisory_xact_lock(hashtextextended(upper(%(name)s), %(upload)s))"
"""The row before the name: whoever holds the row alone, as an archive's unpacking does, would wait for names after it."""


def lock(upload: Upload) -> Upload:
    """The upload's row, held alone: for its table, its end, and an archive's files."""
    return Upload.objects.select_for_update(no_key=True).get(pk=upload.pk)


def share(upload: Upload, name: str) -> Upload:
    """The upload as it is now, held against those who want it alone, but not against other files: those of the same name wait for each
    other (one row of a table waits for one file), all others come in side by side."""
    with connection.cursor() as cursor:
        cursor.execute(f"{HOLD} SELECT {HELD} FROM upload", {"upload": upload.pk, "name": name})  # noqa: S608  # nosec B608 # constants
        return as_held(upload, cursor.fetchone())


def as_held(upload: Upload, row: Sequence[Any] | None) -> Upload:
    """The upload as a statement with HOLD and HELD found it, which are the first of its columns. Raises NotVisible where it is gone."""
    if row is None:
        raise NotVisible
    now = copy(upload)
    now.closed, now.cancelled = row[0], row[1]
    return now
