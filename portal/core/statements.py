"""Statements that are written once: many rows changed by one, a row read or inserted without building its statement anew, and what
Postgres plans once for a connection."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import Field, Manager, Model
from django.db.models.expressions import DatabaseDefault

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that takes longer to plan than to run: each connection plans it once. Its values are `$1`, `$2`, ... of these `types`.

    A pooler between us and Postgres must leave a session its connection.
    """

    name: str
    types: str
    sql: str

    def first(self, *values: Any) -> tuple[Any, ...] | None:
        """The first row."""
        return next(iter(self.all(*values)), None)

    def all(self, *values: Any) -> list[tuple[Any, ...]]:
        """Every row. Planned in the same round trip where this connection has not run it before."""
        with connection.cursor() as cursor:
            known = _PREPARED.setdefault(connection.connection, set())
            ahead = "" if self.name in known else f"PREPARE {self.name} ({self.types}) AS {self.sql.replace('%', '%%')}; "
            cursor.execute(f"{ahead}EXECUTE {self.name} ({', '.join(['%s'] * len(values))})", values)
            if ahead:
                known.add(self.name)
                cursor.nextset()
            return list(cursor.fetchall())


_PREPARED: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


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


def insert_rows(rows: Sequence[Model]) -> None:
    """`bulk_create` by one statement, for many rows whose new keys nobody asks for: Django prepares every value of every row by itself,
    which takes longer than Postgres does (docs/LOG.md). What the first row leaves to the database is left to it for all."""
    if not rows:
        return
    meta = rows[0]._meta
    left = {field.name for field in meta.concrete_fields if _is_left(field, getattr(rows[0], field.attname))}
    columns = {field.column: field for field in meta.concrete_fields if field.name not in left}
    names = ", ".join(f'"{name}"' for name in columns)
    types = ", ".join(f'"{name}" {field.db_type(connection)}' for name, field in columns.items())
    values = [{name: getattr(row, field.attname) for name, field in columns.items()} for row in rows]
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{meta.db_table}" ({names}) '  # noqa: S608  # nosec B608 # names of the model's own columns
            f"SELECT {names} FROM jsonb_to_recordset(%s) AS new ({types})",
            [json.dumps(values, default=str)],
        )


def _is_left(field: Field[Any, Any], value: object) -> bool:
    """A column that the database fills: its key, its clock."""
    return (value is None and field.primary_key) or isinstance(value, DatabaseDefault)


def select_row(model: type[M], pk: int) -> M | None:
    """`model.objects.filter(pk=pk).first()` of a model that `is_plain`, by a statement that is written once for a model."""
    if not 0 <= pk < 1 << 63:
        return None
    names, sql = _select(model)
    with connection.cursor() as cursor:
        cursor.execute(sql, [pk])
        row = cursor.fetchone()
    return None if row is None else model.from_db(connection.alias, names, row)


def is_plain(model: type[Model]) -> bool:
    """Whether what the driver reads is what Django would make of it: no column is converted, and no manager chooses among the rows."""
    converted = any(field.get_db_converters(connection) for field in model._meta.concrete_fields)
    return type(model._default_manager) is Manager and not converted


@cache
def _select(model: type[Model]) -> tuple[list[str], str]:
    meta = model._meta
    columns = ", ".join(f'"{field.column}"' for field in meta.concrete_fields)
    sql = f'SELECT {columns} FROM "{meta.db_table}" WHERE "{meta.pk.column}" = %s'  # noqa: S608  # nosec B608 # names of the model's own
    return [field.attname for field in meta.concrete_fields], sql


def insert_row(row: Model) -> None:
    """`row.save(force_insert=True)` for the path that every file takes: the same statement, written once for a model and not for a row.

    Columns that are the database's to fill (its clock, its numbers) are read back into `row`. No model of ours has signals or a
    `save` of its own that would be passed by.
    """
    given, left = [], []
    for field in row._meta.concrete_fields:
        value = field.pre_save(row, add=True)
        if _is_left(field, value):
            left.append(field)
        else:
            given.append((field, field.get_db_prep_save(value, connection)))
    sql = _insert(type(row), tuple(field.column for field, _ in given), tuple(field.column for field in left))
    with connection.cursor() as cursor:
        cursor.execute(sql, [value for _, value in given])
        if left:
            _fill(row, left, cursor.fetchone())
    row._state.adding, row._state.db = False, connection.alias


def _fill(row: Model, fields: list[Field[Any, Any]], values: Sequence[Any]) -> None:
    for field, value in zip(fields, values, strict=True):
        setattr(row, field.attname, value)


@cache
def _insert(model: type[Model], given: tuple[str, ...], left: tuple[str, ...]) -> str:
    names, places = ", ".join(f'"{column}"' for column in given), ", ".join(["%s"] * len(given))
    back = ", ".join(f'"{column}"' for column in left)
    table, told = model._meta.db_table, f" RETURNING {back}" if back else ""
    return f'INSERT INTO "{table}" ({names}) VALUES ({places}){told}'  # noqa: S608  # nosec B608 # names of the model's own columns
