"""Schemas of JSON columns."""

import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Literal, Self

import jsonschema
from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from plugins.contracts import MessageRole
from prompts.rendering import NAME, VALUE_TYPES, VariableType

MAX_SCHEMA_BYTES = 64_000


class PromptMessage(BaseModel):
    """A message of a prompt; `content` may hold placeholders such as `{{ question }}`."""

    model_config = ConfigDict(extra="forbid")

    role: Literal[MessageRole.SYSTEM, MessageRole.USER, MessageRole.ASSISTANT]
    content: str = Field(max_length=100_000)


class PromptMessages(RootModel[list[PromptMessage]]):
    root: list[PromptMessage] = Field(min_length=1, max_length=50)


class PromptVariable(BaseModel):
    """What a placeholder takes. One that is not declared takes a required text. sample: to try the prompt with; it is
    never sent by itself."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=f"^{NAME}$", max_length=50)
    type: VariableType = VariableType.TEXT
    required: bool = True
    default: Any = None
    sample: Any = None
    description: str = Field(default="", max_length=300)

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        for name in ("default", "sample"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, VALUE_TYPES[self.type]):
                raise ValueError(f"the {name} of {self.name!r} is no {self.type.value}")
        return self


class PromptVariables(RootModel[list[PromptVariable]]):
    root: list[PromptVariable] = Field(max_length=50)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [one.name for one in self.root]
        if len(set(names)) < len(names):
            raise ValueError("a variable is declared twice")
        return self


class PromptExample(BaseModel):
    """What somebody might say, and the answer that is wanted."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, max_length=20_000)
    output: str = Field(min_length=1, max_length=20_000)


class PromptExamples(RootModel[list[PromptExample]]):
    root: list[PromptExample] = Field(max_length=20)


class ResponseFormat(StrEnum):
    TEXT = "text"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"


class OutputSchema(RootModel[dict[str, Any]]):
    """A JSON Schema (2020-12); references stay within it."""

    @model_validator(mode="after")
    def _is_schema(self) -> Self:
        if len(json.dumps(self.root)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"the schema is larger than {MAX_SCHEMA_BYTES} bytes")
        try:
            jsonschema.Draft202012Validator.check_schema(self.root)
        except jsonschema.SchemaError as error:
            raise ValueError(f"this is no JSON Schema: {error.message[:200]}") from None
        for name, value in _members(self.root):
            if name in {"pattern", "patternProperties"} and not isinstance(value, bool):
                raise ValueError(f"{name} is not supported, as some patterns never end; say it in a description")
            if name in {"$ref", "$dynamicRef"} and not str(value).startswith("#"):
                raise ValueError(f"{name} has to stay within the schema: #/$defs/…")
        return self


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """All names with their values, however deep."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
