"""Many rows changed by one statement."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import Model


def update_rows(rows: Sequence[Model], fields: Collection[str]) -> None:
    """Write these fields of rows of one model. Django's `bulk_update` sends a CASE for every row and field, and takes longer to
    write that than Postgres to read it (docs/LOG.md)."""
    if not rows:
        return
    meta = rows[0]._meta
    columns = {field.column: field for field in meta.concrete_fields if field.name in fields}
    types = ", ".join(f'"{name}" {field.db_type(connection)}' for name, field in columns.items())
    sets = ", ".join(f'"{name}" = new."{name}"' for name in columns)
    values = [{"id": row.pk, **{name: getattr(row, field.attname) for name, field in columns.items()}} for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{meta.db_table}" AS old SET {sets} '  # noqa: S608  # nosec B608 # names of the model's own columns
            f"FROM jsonb_to_recordset(%s) AS new (id bigint, {types}) WHERE old.id = new.id",
            [json.dumps(values, cls=DjangoJSONEncoder)],
        )
