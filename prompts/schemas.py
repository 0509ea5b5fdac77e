"""Schemas of JSON columns."""

from pydantic import BaseModel, ConfigDict, Field, RootModel

from plugins.contracts import MessageRole


class PromptMessage(BaseModel):
    """A message of a prompt; `content` may hold placeholders such as `{{ question }}`."""

    model_config = ConfigDict(extra="forbid")

    role: MessageRole
    content: str = Field(max_length=100_000)


class PromptMessages(RootModel[list[PromptMessage]]):
    root: list[PromptMessage] = Field(min_length=1, max_length=50)
