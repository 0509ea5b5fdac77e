"""Querysets whose SQL is made once, for reads that every request does.

Django makes the SQL of a queryset anew each time it is evaluated, which takes several times as long as PostgreSQL takes
to answer. Here a queryset is made with places instead of values, once in a process, and a read only fills them in. What
comes back is what the queryset says, annotations and `select_related` included.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import connections, models
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T")


class Place(models.Value):
    """Where a value goes that is not known yet."""

    def as_sql(self, _compiler: Any, _connection: Any) -> tuple[str, list[Any]]:
        return "%s", [self]


class AnyOf(models.Func):
    """`filter(AnyOf("model_id", ids))`: the column has one of these values. `model_id__in` has SQL of another form for
    each number of values."""

    template = "%(expressions)s)"
    arg_joiner = " = ANY("
    output_field = models.BooleanField()


class _Filled:
    """What Django's iterables read of a queryset, with a compiler that does not compile."""

    def __init__(self, rows: Any, compiler: SQLCompiler) -> None:
        self.db, self.model, self.query = rows.db, rows.model, self
        self._fields, self._known_related_objects = rows._fields, rows._known_related_objects
        self._compiler = compiler

    def get_compiler(self, *_args: Any, **_options: Any) -> SQLCompiler:
        return self._compiler


class Compiled(Generic[T]):
    """A queryset with places. Called with their values, it answers what the queryset would find."""

    def __init__(self, build: "Callable[..., models.QuerySet[Any, T]]") -> None:
        self._build = build
        self._made = cache(self._make)
        self.__doc__ = build.__doc__

    def __call__(self, *shape: Any, **values: Any) -> list[T]:
        """The rows. shape: what decides how the queryset looks, of few kinds; values: what fills the places."""
        rows, compiler, sql, params = self._made(shape, tuple(values))
        filled = copy.copy(compiler)
        filled.connection = connections[rows.db]
        arguments = tuple(values[one.value] if isinstance(one, Place) else one for one in params)
        filled.as_sql = lambda *_args, **_options: (sql, arguments)
        return list(rows._iterable_class(_Filled(rows, filled)))

    def first(self, *shape: Any, **values: Any) -> T | None:
        """The first row, or None."""
        found = self(*shape, **values)
        return found[0] if found else None

    def _make(self, shape: tuple[Any, ...], names: tuple[str, ...]) -> tuple[Any, SQLCompiler, str, tuple[Any, ...]]:
        rows: Any = self._build(*shape, **{name: Place(name) for name in names})
        compiler = rows.query.get_compiler(using=rows.db)
        sql, params = compiler.as_sql()
        return rows, compiler, sql, tuple(params)
