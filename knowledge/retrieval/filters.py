"""Filters that callers and models write: parsed against declared fields, into SQL with parameters.

A name that is not declared never reaches the database; names of JSON keys are parameters too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from psycopg import sql

from core.exceptions import InvalidInput
from knowledge.choices import FieldType
from knowledge.schemas import storable

BUILT_IN = {
    "title": ("d.title", FieldType.TEXT),
    "media_type": ("d.media_type", FieldType.TEXT),
    "external_id": ("d.external_id", FieldType.TEXT),
    "created_at": ("d.created_at", FieldType.DATE),
}
COMPARISONS = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = frozenset({*COMPARISONS, "in", "contains", "exists"})
CASTS = {
    FieldType.TEXT: "text",
    FieldType.NUMBER: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.DATE: "timestamptz",
}
MAX_DEPTH = 5
MAX_CONDITIONS = 50


@dataclass
class Condition:
    """SQL over `d` (knowledge_document), with %s where its parameters belong."""

    text: str
    parameters: list[Any]

    def composed(self) -> sql.Composed:
        """The condition with its parameters quoted by the driver, to stand inside of a larger statement."""
        return sql.SQL(self.text.replace("%s", "{}")).format(*map(sql.Literal, self.parameters))


def compile_filter(given: Mapping[str, Any] | None, fields: Mapping[str, FieldType]) -> Condition | None:
    """The condition of a filter such as `{"and": [{"field": "department", "op": "eq", "value": "HR"}]}`.

    Raises InvalidInput for anything else than `and`, `or`, `not` and conditions on declared fields.
    """
    if not given:
        return None
    return _Compiler(fields).node(given, 0)


class _Compiler:
    def __init__(self, fields: Mapping[str, FieldType]) -> None:
        self.fields = fields
        self.conditions = 0

    def node(self, given: Any, depth: int) -> Condition:
        if not isinstance(given, Mapping) or depth > MAX_DEPTH:
            raise InvalidInput(f"A filter is an object, nested at most {MAX_DEPTH} deep.")
        if len(given) == 1:
            key, value = next(iter(given.items()))
            if key in {"and", "or"}:
                return self._all(key, value, depth)
            if key == "not":
                inner = self.node(value, depth + 1)
                return Condition(f"(NOT COALESCE({inner.text}, FALSE))", inner.parameters)
        return self._condition(given)

    def _all(self, key: str, value: Any, depth: int) -> Condition:
        if not isinstance(value, list) or not value:
            raise InvalidInput(f"'{key}' of a filter takes a list of conditions.")
        parts = [self.node(one, depth + 1) for one in value]
        joined = f" {key.upper()} ".join(part.text for part in parts)
        return Condition(f"({joined})", [parameter for part in parts for parameter in part.parameters])

    def _condition(self, given: Mapping[str, Any]) -> Condition:
        self.conditions += 1
        if self.conditions > MAX_CONDITIONS or not {"field", "op"} <= set(given) <= {"field", "op", "value"}:
            raise InvalidInput(f"A condition is {{field, op, value}}; at most {MAX_CONDITIONS} of them.")
        name, operator = given["field"], given["op"]
        if not isinstance(name, str) or not (name in BUILT_IN or name in self.fields):
            known = ", ".join(sorted({*BUILT_IN, *self.fields}))
            raise InvalidInput(f"The field {str(name)[:60]!r} cannot be filtered by. Known: {known}.")
        if operator not in OPERATORS:
            raise InvalidInput(f"The operator {str(operator)[:20]!r} is none of {', '.join(sorted(OPERATORS))}.")
        return self._compare(name, operator, given.get("value"))

    def _compare(self, name: str, operator: str, value: Any) -> Condition:
        column, names, kind = self._column(name)
        if operator == "exists":
            present = "IS NOT NULL" if value is not False else "IS NULL"
            return Condition(f"({column} {present})", names)
        if operator == "contains":
            if kind is not FieldType.TEXT:
                raise InvalidInput(f"'contains' is for text; '{name}' is {kind.label}.")
            return Condition(f"(position(lower(%s) in lower({column})) > 0)", [_value(name, value, kind), *names])
        if operator == "in":
            if not isinstance(value, list) or not 0 < len(value) <= 200:
                raise InvalidInput("'in' takes a list of 1 to 200 values.")
            values = [_value(name, one, kind) for one in value]
            return Condition(f"({column}::{CASTS[kind]} = ANY(%s::{CASTS[kind]}[]))", [*names, values])
        compared = f"({column}::{CASTS[kind]} {COMPARISONS[operator]} %s::{CASTS[kind]})"
        return Condition(compared, [*names, _value(name, value, kind)])

    def _column(self, name: str) -> tuple[str, list[Any], FieldType]:
        """The SQL of a field, the parameters that it holds, its type. A value of the wrong type in a document is
        treated as missing."""
        if name in BUILT_IN:
            column, kind = BUILT_IN[name]
            return column, [], kind
        kind = self.fields[name]
        if kind is FieldType.TEXT:
            return "(d.metadata ->> %s)", [name], kind
        types = {FieldType.NUMBER: "number", FieldType.BOOLEAN: "boolean", FieldType.DATE: "string"}
        guard = f"jsonb_typeof(d.metadata -> %s) = '{types[kind]}'"
        if kind is FieldType.DATE:
            guard += " AND pg_input_is_valid(d.metadata ->> %s, 'timestamptz')"
            return f"(CASE WHEN {guard} THEN d.metadata ->> %s END)", [name, name, name], kind
        return f"(CASE WHEN {guard} THEN d.metadata ->> %s END)", [name, name], kind


def _value(name: str, value: Any, kind: FieldType) -> str:
    if kind is FieldType.BOOLEAN and isinstance(value, bool):
        return "true" if value else "false"
    if kind is FieldType.NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if kind is FieldType.TEXT and isinstance(value, str) and storable(value) == value:
        return value
    if kind is FieldType.DATE and isinstance(value, str) and (date := _date(value)) is not None:
        return date
    raise InvalidInput(f"The value for '{name}' is not a {kind.label}.")


def _date(value: str) -> str | None:
    """The moment in the one spelling that PostgreSQL is given; Python reads more than PostgreSQL does."""
    try:
        parsed = parse_datetime(value) or parse_date(value)
    except ValueError:
        return None
    return parsed.isoformat() if parsed is not None else None
