"""Querysets whose SQL is made once, for what every request does.

Django makes the SQL of a queryset anew each time it is evaluated, which takes several times as long as PostgreSQL takes
to answer. Here a queryset is made with places instead of values, once in a process, and a read only fills them in. What
comes back is what the queryset says, annotations and `select_related` included. `execute` sends several statements in
one go. Rows that are written are `core.compiled_rows`. See docs/adr/0018.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast, overload

from django.db import connection, models
from django.db.models.sql.compiler import SQLCompiler

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Statement(Generic[T]):
    """SQL with its values. read: makes of the rows of its answer what is asked for; None for what answers no rows."""

    sql: str
    values: tuple[Any, ...]
    read: Callable[[list[tuple[Any, ...]]], T] | None


@overload
def execute(one: Statement[T], /) -> tuple[T]: ...
@overload
def execute(one: Statement[T], two: Statement[U], /) -> tuple[T, U]: ...
@overload
def execute(*statements: Statement[Any]) -> tuple[Any, ...]: ...
def execute(*statements: Statement[Any]) -> tuple[Any, ...]:
    """What each of these statements answers, in one round trip and, outside of a transaction, in one of their own."""
    with connection.cursor() as cursor:
        cursor.execute(";".join(one.sql for one in statements), [value for one in statements for value in one.values])
        answers = []
        for number, one in enumerate(statements):
            if number:
                cursor.nextset()
            answers.append(None if one.read is None else one.read(cursor.fetchall()))
    return tuple(answers)


class Place(models.Value):
    """Where a value goes that is not known yet."""

    def as_sql(self, _compiler: Any, _connection: Any) -> tuple[str, tuple[Any, ...]]:
        return "%s", (self,)


class AnyOf(models.Func):
    """`filter(AnyOf("model_id", ids))`: the column has one of these values. `model_id__in` has SQL of another form for
    each number of values."""

    template = "%(expressions)s)"
    arg_joiner = " = ANY("
    output_field = models.BooleanField()


class Compiled(Generic[T]):
    """A queryset with places. Called with their values, it answers what the queryset would find.

    It is built once, so it must not depend on anything but its shape and its places: no clock, no caller.
    """

    def __init__(self, build: "Callable[..., models.QuerySet[Any, T]]") -> None:
        self._build = build
        self._forms: dict[Any, Statement[list[T]]] = {}
        self.__doc__ = build.__doc__

    def __call__(self, *shape: Any, **values: Any) -> list[T]:
        """The rows. shape: what decides how the queryset looks, of few kinds; values: what fills the places."""
        (rows,) = execute(self.filled(*shape, **values))
        return rows

    def first(self, *shape: Any, **values: Any) -> T | None:
        """The first row, or None."""
        return next(iter(self(*shape, **values)), None)

    def filled(self, *shape: Any, **values: Any) -> Statement[list[T]]:
        """The statement, for `execute`."""
        form = self._made(shape, tuple(values))
        places = (values[one.value] if isinstance(one, Place) else one for one in form.values)
        return Statement(form.sql, tuple(places), form.read)

    def _made(self, shape: tuple[Any, ...], names: tuple[str, ...]) -> Statement[list[T]]:
        form = self._forms.get((shape, names))
        if form is None:
            form = self._forms[shape, names] = self._make(shape, names)
        return form

    def _make(self, shape: tuple[Any, ...], names: tuple[str, ...]) -> Statement[list[T]]:
        queryset: Any = self._build(*shape, **{name: Place(name) for name in names})
        assert not queryset._prefetch_related_lookups, "What is prefetched takes queries of its own."
        compiler = queryset.query.get_compiler(using=queryset.db)
        sql, values = compiler.as_sql()
        converters = compiler.get_converters([column for column, *_ in compiler.select])
        compiler.get_converters = lambda _columns: converters
        iterable = queryset._iterable_class

        def read(rows: list[tuple[Any, ...]]) -> list[T]:
            return list(iterable(_Answered(queryset, compiler, rows))) if rows else []

        return Statement(sql, tuple(values), read)


class _Answered:
    """What Django's iterables read of a queryset, with a compiler that has its answer already."""

    def __init__(self, queryset: Any, compiler: SQLCompiler, rows: Sequence[tuple[Any, ...]]) -> None:
        self.db, self.model, self.query = queryset.db, queryset.model, self
        self._fields, self._known_related_objects = queryset._fields, queryset._known_related_objects
        self._compiler = cast(Any, copy.copy(compiler))
        self._compiler.connection = connection
        self._compiler.execute_sql = lambda *_args, **_options: [rows]

    def get_compiler(self, *_args: Any, **_options: Any) -> Any:
        return self._compiler
