"""What the OpenAPI description promises, held against what the platform answers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator

from core.api.schema_parts import OF_RATES

PREFIX = "/api/v1/"
Part = dict[str, Any]


@cache
def description() -> Part:
    """The whole OpenAPI description, made once."""
    made: Part = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def resolved(part: Part) -> Part:
    """The part itself, or the one that it refers to."""
    if "$ref" not in part:
        return part
    found: Any = description()
    for name in part["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return resolved(found)


@dataclass(frozen=True)
class Described:
    """An operation as the description has it. path: with `{id}`, as it is written there."""

    method: str
    path: str
    operation: Part

    def __str__(self) -> str:
        return str(self.operation["operationId"])

    @property
    def parameters(self) -> list[Part]:
        return [resolved(one) for one in self.operation.get("parameters", ())]

    @property
    def request_content(self) -> Part:
        content: Part = self.operation.get("requestBody", {}).get("content", {})
        return content

    @property
    def answers(self) -> dict[str, Part]:
        """By status."""
        return {status: resolved(one) for status, one in self.operation["responses"].items()}


def described() -> list[Described]:
    """All operations, in the order of the description."""
    return list(_described())


def _described() -> Iterator[Described]:
    for path, item in description()["paths"].items():
        for method, operation in item.items():
            yield Described(method.upper(), path, operation)


@cache
def _by_route() -> dict[tuple[str, str], Described]:
    return {(one.method, one.path): one for one in described()}


def described_as(method: str, route: str, prefix: str = PREFIX) -> Described:
    """The operation of a route as Django writes it, `models/<str:id>/test`."""
    return _by_route()[method, prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)]


def validator(schema: Part, *, strict: bool = False) -> Draft202012Validator:
    """For a schema of the description; strict: a member that it does not name is wrong."""
    root, one = (_closed_description(), _close(schema)) if strict else (description(), schema)
    return Draft202012Validator({**one, "components": root["components"]})


@cache
def _closed_description() -> Part:
    closed: Part = _close(description())
    return closed


def _close(part: Any) -> Any:
    """The same with `additionalProperties: false` in each object that names its members."""
    if isinstance(part, list):
        return [_close(one) for one in part]
    if not isinstance(part, dict):
        return part
    closed = {name: one if name in {"example", "default", "enum"} else _close(one) for name, one in part.items()}
    if part.get("type") == "object" and "properties" in part and "additionalProperties" not in part:
        closed["additionalProperties"] = False
    return closed


def assert_as_described(operation: Described, response: Any) -> None:
    """Status, headers, form and body of the answer are among what the description says. Streams are read elsewhere."""
    status = str(response.status_code)
    assert status in operation.answers, f"{operation} answers {status}, and the description does not say so"
    answer = operation.answers[status]
    seldom = SOMETIMES | RATES if operation.operation["x-magnet-access"]["role"] == "nobody" else SOMETIMES
    missing = [name for name in answer.get("headers", {}) if name not in response.headers and name not in seldom]
    assert not missing, f"{operation} answers {status} without {missing}"
    content = answer.get("content", {})
    if getattr(response, "streaming", False):
        return
    if not content:
        assert response.content == b"", (operation, response.content)
        return
    form = response.headers["Content-Type"].partition(";")[0]
    assert form in content, f"{operation} answers {status} as {form}"
    if form.endswith("json"):
        errors = list(validator(content[form]["schema"]).iter_errors(response.json()))
        assert not errors, f"{operation} {status}: {errors[0].json_path}: {errors[0].message}"


# Of answers that share a description, only some carry these.
SOMETIMES = frozenset({"Idempotency-Replayed", "Retry-After", "Location", "ETag"})
# Of operations that take no credentials: nobody's minute is counted.
RATES = frozenset(OF_RATES)
