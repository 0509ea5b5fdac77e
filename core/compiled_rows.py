"""Rows that every run writes, with SQL that is made once: what `bulk_create` and `save` do, and nothing around it.

All values of a statement go as one JSON text, which PostgreSQL reads by the columns' types: a parameter for each value
costs the driver more than making them. No signals are sent and no field may be left to a default of the database.
"""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models.constants import OnConflict

from core.compiled import Statement, execute

M = TypeVar("M", bound=models.Model)


class Insert(Generic[M]):
    """Rows of one model. on_conflict: what happens to one that stands there already; an update needs to know which
    columns make it the same row, and which then change."""

    def __init__(
        self,
        model: type[M],
        on_conflict: OnConflict | None = None,
        *,
        same: Sequence[str] = (),
        changed: Sequence[str] = (),
    ) -> None:
        self._model, self._on_conflict, self._same, self._changed = model, on_conflict, same, changed

    def __call__(self, *rows: M) -> None:
        if rows:
            execute(self.filled(rows))

    def filled(self, rows: Sequence[M]) -> Statement[None]:
        """The statement, for `execute`."""
        given = [_values(row, self._fields, add=True) for row in rows]
        for row in rows:
            row._state.adding, row._state.db = False, connection.alias
        return Statement(self._sql, (_text(given),), None)

    @cached_property
    def _fields(self) -> list[Any]:
        return list(self._model._meta.concrete_fields)

    @cached_property
    def _sql(self) -> str:
        table, columns = _names(self._model, self._fields)
        conflict = connection.ops.on_conflict_suffix_sql(self._fields, self._on_conflict, self._changed, self._same)
        read = f"SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"  # noqa: S608 - names
        return f"INSERT INTO {table} ({columns}) {read} {conflict}"


class Update(Generic[M]):
    """All columns of one row."""

    def __init__(self, model: type[M]) -> None:
        self._model = model

    def filled(self, row: M) -> Statement[None]:
        """The statement, for `execute`."""
        return Statement(self._sql, (_text(_values(row, self._fields, add=False)), row.pk), None)

    @cached_property
    def _fields(self) -> list[Any]:
        return [field for field in self._model._meta.concrete_fields if not field.primary_key]

    @cached_property
    def _sql(self) -> str:
        table, columns = _names(self._model, self._fields)
        read = f"SELECT {columns} FROM jsonb_populate_record(NULL::{table}, %s::jsonb)"  # noqa: S608 - names
        key: Any = self._model._meta.pk
        return f"UPDATE {table} SET ({columns}) = ({read}) WHERE {connection.ops.quote_name(key.column)} = %s"  # noqa: S608 - names


def _names(model: type[models.Model], fields: Sequence[Any]) -> tuple[str, str]:
    quoted = connection.ops.quote_name
    return quoted(model._meta.db_table), ", ".join(quoted(field.column) for field in fields)


def _values(row: models.Model, fields: Sequence[Any], *, add: bool) -> dict[str, Any]:
    return {field.column: field.get_prep_value(field.pre_save(row, add)) for field in fields}


def _text(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    """Ids, amounts and moments as PostgreSQL reads them. Raises TypeError for what is no value of a column."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, uuid.UUID | Decimal):
        return str(value)
    raise TypeError(f"A {type(value).__name__} cannot be stored.")
