"""Rows that every run writes, with SQL that is made once: what `bulk_create` and `save` do, and nothing around it.

No signals are sent and no field may be left to a default of the database.
"""

from collections.abc import Sequence
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
        """The statement, for `execute`. It takes a row at least."""
        head, places, tail = self._sql
        values = tuple(_stored(row, field, add=True) for row in rows for field in self._fields)
        for row in rows:
            row._state.adding, row._state.db = False, connection.alias
        return Statement(f"{head} VALUES {', '.join([places] * len(rows))} {tail}", values, None)

    @cached_property
    def _fields(self) -> list[Any]:
        return list(self._model._meta.concrete_fields)

    @cached_property
    def _sql(self) -> tuple[str, str, str]:
        quoted = connection.ops.quote_name
        columns = ", ".join(quoted(field.column) for field in self._fields)
        places = ", ".join(_place(field) for field in self._fields)
        tail = connection.ops.on_conflict_suffix_sql(self._fields, self._on_conflict, self._changed, self._same)
        return f"INSERT INTO {quoted(self._model._meta.db_table)} ({columns})", f"({places})", tail


class Update(Generic[M]):
    """All columns of one row."""

    def __init__(self, model: type[M]) -> None:
        self._model = model

    def filled(self, row: M) -> Statement[None]:
        """The statement, for `execute`."""
        values = [_stored(row, field, add=False) for field in self._fields]
        return Statement(self._sql, (*values, row.pk), None)

    @cached_property
    def _fields(self) -> list[Any]:
        return [field for field in self._model._meta.concrete_fields if not field.primary_key]

    @cached_property
    def _sql(self) -> str:
        quoted = connection.ops.quote_name
        columns = ", ".join(f"{quoted(field.column)} = {_place(field)}" for field in self._fields)
        meta: Any = self._model._meta
        return f"UPDATE {quoted(meta.db_table)} SET {columns} WHERE {quoted(meta.pk.column)} = %s"  # noqa: S608 - names


def _stored(row: models.Model, field: Any, *, add: bool) -> Any:
    return field.get_db_prep_save(field.pre_save(row, add), connection)


def _place(field: Any) -> str:
    return str(field.get_placeholder(None, None, connection)) if hasattr(field, "get_placeholder") else "%s"
