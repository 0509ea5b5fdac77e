"""Rendering a prompt: placeholders are substituted, never evaluated."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

from core.exceptions import FieldError, InvalidInput
from plugins.contracts import ChatMessage, MessageRole

NAME = "[a-z][a-z0-9_]*"
PLACEHOLDER = re.compile(rf"\{{\{{\s*({NAME})\s*\}}\}}")


class VariableType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"


VALUE_TYPES: dict[VariableType, tuple[type, ...]] = {
    VariableType.TEXT: (str,),
    VariableType.NUMBER: (int, float),
    VariableType.BOOLEAN: (bool,),
    VariableType.LIST: (list,),
    VariableType.OBJECT: (dict,),
}


def variables_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the placeholders, in order of appearance."""
    return list(dict.fromkeys(name for one in messages for name in PLACEHOLDER.findall(str(one["content"]))))


def specs_of(
    messages: Sequence[Mapping[str, Any]], declared: Sequence[Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """What each variable takes, by name. A placeholder that nobody declared takes a required text."""
    return {name: {"name": name} for name in variables_of(messages)} | {one["name"]: one for one in declared}


def values_for(specs: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, str]:
    """The text of each variable: what is given, or its default. Optional ones without either are empty.

    Raises InvalidInput, which names each that is missing, unknown or of another type.
    """
    wrong = [_error(name, "unknown", "This prompt has no such variable.") for name in given if name not in specs]
    values: dict[str, str] = {}
    for name, spec in specs.items():
        value = given.get(name)
        value = spec.get("default") if value is None else value
        kind = VariableType(spec.get("type", VariableType.TEXT))
        if value is None and spec.get("required", True):
            wrong.append(_error(name, "required", "A value is needed."))
        elif value is not None and not _fits(value, kind):
            wrong.append(_error(name, "type", f"This must be of the type {kind.value}."))
        else:
            values[name] = "" if value is None else _text(value)
    if wrong:
        names = ", ".join(one.pointer.removeprefix("/variables/") for one in wrong)
        raise InvalidInput(f"These variables of the prompt are not right: {names}.", errors=wrong)
    return values


def read_texts(specs: Mapping[str, Mapping[str, Any]], texts: Mapping[str, Any]) -> dict[str, Any]:
    """The variables out of a protocol's labels, which are texts alone: each is read by its declared type.

    Other names are the caller's own. A text that is no value of the type stays what it is, for `values_for` to refuse.
    """
    return {name: _read(value, specs[name]) for name, value in texts.items() if name in specs}


def render(messages: Sequence[Mapping[str, Any]], values: Mapping[str, str]) -> tuple[ChatMessage, ...]:
    """The messages with their placeholders replaced once: a placeholder inside a value stays text."""
    return tuple(
        ChatMessage(
            MessageRole(message["role"]), PLACEHOLDER.sub(lambda found: values[found[1]], str(message["content"]))
        )
        for message in messages
    )


def _error(name: str, code: str, detail: str) -> FieldError:
    return FieldError(f"/variables/{name}", code, detail)


def _fits(value: Any, kind: VariableType) -> bool:
    """A boolean is a number in Python, and nowhere else."""
    return isinstance(value, VALUE_TYPES[kind]) and (kind is VariableType.BOOLEAN or not isinstance(value, bool))


def _read(value: Any, spec: Mapping[str, Any]) -> Any:
    kind = VariableType(spec.get("type", VariableType.TEXT))
    if not isinstance(value, str) or kind is VariableType.TEXT:
        return value
    with suppress(ValueError, RecursionError):
        return json.loads(value.strip().lower() if kind is VariableType.BOOLEAN else value, parse_constant=_no_number)
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
