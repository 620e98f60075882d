"""Migrations that cannot be undone once something lies in what they added: refused in words, before the migration changes anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from django.db import migrations

KEEP = (
    "Go forward again with `manage.py migrate`; or, to return to the older version, bring back the backup that was made before the upgrade."
)
"""What to do where nothing that can be done by hand would keep it."""


def refuse_to_lose(migration: str, losses: Mapping[str, str], *, instead: str = KEEP) -> migrations.RunPython:
    """To stand last in a migration: it is what is undone first. `losses`: what there would be no place for, and the statement that counts
    it. `instead`: what to do first."""

    def refuse(apps: object, schema_editor: Any) -> None:
        del apps
        with schema_editor.connection.cursor() as cursor:
            lost = [f"{what} ({count})" for what, sql in losses.items() if (count := _counted(cursor, sql))]
        if lost:
            raise CommandError(f"{migration} cannot be undone, as what came with it would be lost: {', '.join(lost)}. {instead}")

    return migrations.RunPython(migrations.RunPython.noop, refuse)


def _counted(cursor: Any, sql: str) -> int:
    cursor.execute(sql)
    return int(cursor.fetchone()[0])
