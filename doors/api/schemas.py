"""What /v1 answers, for the OpenAPI document. The shapes are OpenAI's; only what clients rely on is listed."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class OpenAIModel(BaseModel):
    """A tool or a raw model that may be named in `model`. kind: rag, prompt or model."""

    id: str
    object: str
    created: int
    owned_by: str
    kind: str
    name: str
    description: str


class OpenAIModelList(BaseModel):
    object: str
    data: list[OpenAIModel]


class ChatCompletionMessage(BaseModel):
    """annotations: where the text cites which document. tool_calls: of raw models, for tools of the caller."""

    role: str
    content: str | None
    refusal: str | None
    annotations: list[dict[str, Any]] = []
    tool_calls: list[dict[str, Any]] = []


class ChatCompletionChoice(BaseModel):
    index: int
    message: ChatCompletionMessage
    logprobs: None
    finish_reason: str


class ChatCompletionUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class ChatCompletion(BaseModel):
    """magnet: run id, trace id, variant and resolution of the run."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChatCompletionChoice]
    usage: ChatCompletionUsage
    magnet: dict[str, Any]


class ResponseObject(BaseModel):
    """A response; its other fields are OpenAI's, with their empty values."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]
    error: dict[str, Any] | None
    incomplete_details: dict[str, str] | None
    usage: dict[str, Any] | None
    magnet: dict[str, Any]


class EmbeddingRow(BaseModel):
    """embedding: numbers, or little-endian float32 in base64."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingList(BaseModel):
    object: str
    model: str
    data: list[EmbeddingRow]
    usage: dict[str, int]
