"""The bodies of /v1 as their callers send them, and what they mean here. Unknown fields are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_MESSAGES = 2000
MAX_CHARS = 2_000_000
MAX_TOOLS = 128
MAX_INPUTS = 2048

Text = Annotated[str, Field(max_length=MAX_CHARS)]


class OpenAIBody(BaseModel):
    """Fields that are not named here are ignored, as new clients send new ones."""

    model_config = ConfigDict(extra="ignore")


class OpenAIPart(OpenAIBody):
    """A part of a message's content: text, or an image for a raw model that sees."""

    type: str
    text: Text | None = None
    refusal: Text | None = None
    image_url: str | dict[str, Any] | None = None


Content = Text | Annotated[list[OpenAIPart], Field(max_length=MAX_MESSAGES)] | None


class OpenAIFunction(OpenAIBody):
    """A function call as a model made it: `arguments` is JSON text."""

    name: Annotated[str, Field(max_length=200)]
    arguments: Text = "{}"


class OpenAIToolCall(OpenAIBody):
    id: Annotated[str, Field(max_length=200)]
    type: str = "function"
    function: OpenAIFunction


class OpenAIMessage(OpenAIBody):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    tool_calls: Annotated[list[OpenAIToolCall], Field(max_length=MAX_TOOLS)] | None = None
    tool_call_id: Annotated[str, Field(max_length=200)] | None = None


class OpenAIStreamOptions(OpenAIBody):
    include_usage: bool | None = None


class _Common(OpenAIBody):
    model: Annotated[str, Field(min_length=1, max_length=300)]
    stream: bool | None = None
    metadata: dict[str, Any] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    tools: Annotated[list[dict[str, Any]], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None


class ChatCompletionRequest(_Common):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[OpenAIMessage], Field(max_length=MAX_MESSAGES)]
    stream_options: OpenAIStreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: Annotated[str, Field(max_length=500)] | Annotated[list[str], Field(max_length=4)] | None = None
    seed: int | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    functions: list[Any] | None = None
    modalities: list[str] | None = None


class ResponseItem(OpenAIBody):
    """An item of `input`: a message, a call that the model made before, or what the call returned."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Content = None
    call_id: Annotated[str, Field(max_length=200)] | None = None
    name: Annotated[str, Field(max_length=200)] | None = None
    arguments: Text | None = None
    output: Content = None


class ResponseRequest(_Common):
    """`POST /v1/responses`. Nothing is stored under a response's id, whatever `store` says."""

    input: Text | Annotated[list[ResponseItem], Field(max_length=MAX_MESSAGES)] | None = None
    instructions: Text | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    background: bool | None = None
    top_logprobs: int | None = None


class EmbeddingsRequest(OpenAIBody):
    """`POST /v1/embeddings`. `input_type` is ours: `query` for a question, `passage` for what is searched."""

    model: Annotated[str, Field(min_length=1, max_length=300)]
    input: Text | list[Any]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=16_000)] | None = None
    input_type: Literal["query", "passage"] | None = None
